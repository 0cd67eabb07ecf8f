package est

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"chancery/engine/pkcs10"
)

// maxBody is what a body may weigh: the largest request that is read, in base64
// with line breaks.
const maxBody = 32 << 10

// readRequest reads the body: a PKCS #10 request in base64 (RFC 7030, Section
// 4.2.1; RFC 8951, Section 3). The engine verifies its signature before anything
// comes of it.
func readRequest(w http.ResponseWriter, r *http.Request) (*pkcs10.Request, error) {
	if e := r.Header.Values("Content-Encoding"); len(e) > 1 || len(e) == 1 && !strings.EqualFold(e[0], "identity") {
		return nil, refuse(http.StatusUnsupportedMediaType, "Send the body without Content-Encoding.")
	}
	got := r.Header.Values("Content-Type")
	if len(got) != 1 {
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Type must be application/pkcs10.")
	}
	if t, _, err := mime.ParseMediaType(got[0]); err != nil || t != "application/pkcs10" {
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Type must be application/pkcs10.")
	}
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	der, err := decode(body)
	if err != nil {
		return nil, err
	}
	csr, err := pkcs10.Parse(der)
	var bad *pkcs10.Error
	switch {
	case errors.As(err, &bad) && bad.Kind == pkcs10.TooLarge:
		return nil, refuse(http.StatusRequestEntityTooLarge, bad.Error())
	case err != nil:
		return nil, refuse(http.StatusBadRequest, err.Error())
	}
	return csr, nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	tooLarge := refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("The body may have %d octets.", maxBody))
	if r.ContentLength > maxBody {
		w.Header().Set("Connection", "close") // it is not read to its end
		return nil, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "The body ended early.")
	}
	return body, nil
}

// decode reads base64 of RFC 4648, Section 4, with white space anywhere (RFC 8951,
// Section 3). What Content-Transfer-Encoding says is of no interest.
func decode(body []byte) ([]byte, error) {
	kept := make([]byte, 0, len(body))
	for _, c := range body {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			kept = append(kept, c)
		}
	}
	switch {
	case len(kept) == 0:
		return nil, refuse(http.StatusBadRequest, "The body is empty: send the request in base64.")
	case kept[0] == '-':
		return nil, refuse(http.StatusBadRequest, "The body is PEM: leave out the lines that begin with -----.")
	case kept[0] == 0x30 && len(kept) > 1 && kept[1] >= 0x80:
		return nil, refuse(http.StatusBadRequest, "The body is DER: send it in base64.")
	}
	der, err := base64.StdEncoding.Strict().DecodeString(string(kept))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "The body is not base64 (RFC 4648, Section 4).")
	}
	return der, nil
}
