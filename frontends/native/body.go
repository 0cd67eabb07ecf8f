package native

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// What a body may weigh.
const (
	maxEnroll = 64 << 10
	maxAdmin  = 64 << 10
	maxPolicy = 1 << 20
)

// mediaType checks Content-Type and Content-Encoding before anything is read.
// It returns the type without parameters.
func mediaType(r *http.Request, allowed ...string) (string, error) {
	if e := r.Header.Values("Content-Encoding"); len(e) > 0 && (len(e) > 1 || !strings.EqualFold(e[0], "identity")) {
		return "", &problem{Status: http.StatusUnsupportedMediaType, Reason: "unsupported-media-type", Detail: "Send the body as it is, without Content-Encoding."}
	}
	got := r.Header.Values("Content-Type")
	if len(got) == 1 {
		for _, t := range allowed {
			if got[0] == t { // nearly always
				return t, nil
			}
		}
		t, params, err := mime.ParseMediaType(got[0])
		if charset := params["charset"]; err == nil && (charset == "" || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "us-ascii")) {
			for _, a := range allowed {
				if t == a {
					return t, nil
				}
			}
		}
	}
	return "", &problem{Status: http.StatusUnsupportedMediaType, Reason: "unsupported-media-type",
		Detail: "Content-Type must be " + strings.Join(allowed, " or ") + "."}
}

// readBody reads at most limit bytes, and asks for no more memory than the
// client says that it will fill.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	tooLarge := &problem{Status: http.StatusRequestEntityTooLarge, Reason: "too-large", Detail: fmt.Sprintf("The body may have %d bytes.", limit)}
	if r.ContentLength > limit {
		w.Header().Set("Connection", "close") // it is not read to its end
		return nil, tooLarge
	}
	if r.ContentLength >= 0 {
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, badRequest("The body ended early.")
		}
		return body, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge
	case err != nil:
		return nil, badRequest("The body ended early.")
	}
	return body, nil
}

var strict = json.JoinOptions(json.RejectUnknownMembers(true), json.MatchCaseInsensitiveNames(false),
	jsontext.AllowDuplicateNames(false), jsontext.AllowInvalidUTF8(false))

// decode reads one JSON object and nothing else into v. Fields must be known,
// spelled exactly, and given once.
func decode(body []byte, v any) error {
	if t := strings.TrimLeft(string(body[:min(len(body), 64)]), " \t\r\n"); t == "" || t[0] != '{' {
		return badRequest("The body must be a JSON object.")
	}
	err := json.Unmarshal(body, v, strict)
	if err == nil {
		return nil
	}
	var syntax *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName):
		return badRequest("The field " + field(syntax.JSONPointer) + " is given twice.")
	case errors.As(err, &syntax):
		return badRequest(fmt.Sprintf("The body is not JSON: see byte %d.", syntax.ByteOffset))
	case errors.As(err, &semantic) && errors.Is(err, json.ErrUnknownName):
		return badRequest("The field " + field(semantic.JSONPointer) + " is not known here.")
	case errors.As(err, &semantic) && semantic.Err != nil && semantic.JSONKind == '"':
		return badRequest("The field " + field(semantic.JSONPointer) + " is wrong: " + clip(semantic.Err.Error(), 300))
	case errors.As(err, &semantic):
		return badRequest("The field " + field(semantic.JSONPointer) + " has the wrong type.")
	}
	return badRequest("The body cannot be read.")
}

func field(p jsontext.Pointer) string {
	return `"` + clip(strings.TrimPrefix(string(p), "/"), 80) + `"`
}

// clip cuts a text from outside to at most n bytes, at a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// readJSON is the whole way of a body of administration.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	if r.ContentLength == 0 && r.Header.Get("Content-Type") == "" {
		return decode([]byte("{}"), v) // where nothing is required, nothing need be sent
	}
	if _, err := mediaType(r, "application/json"); err != nil {
		return err
	}
	body, err := readBody(w, r, maxAdmin)
	if err != nil {
		return err
	}
	return decode(body, v)
}

// text checks a text that people will read: no control or format characters,
// which could make a terminal or a page show something else than is there.
func text(name, s string, most int) error {
	if len(s) > most {
		return badRequest(fmt.Sprintf("The field %q may have %d bytes.", name, most))
	}
	for _, c := range s {
		if c != '\n' && c != '\t' && unicode.In(c, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) {
			return badRequest(fmt.Sprintf("The field %q has a control character.", name))
		}
	}
	return nil
}

// csr takes a certification request out of PEM or base64.
func csr(s string) ([]byte, error) {
	if s == "" {
		return nil, badRequest(`The field "csr" is missing: it is a PKCS #10 request, as PEM or as base64 of DER.`)
	}
	if strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "-----") {
		return csrPEM([]byte(s))
	}
	der, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, badRequest(`The field "csr" is neither PEM nor base64 of DER on one line.`)
	}
	return der, nil
}

// csrPEM demands one block and nothing around it, because what the decoder
// would skip somebody else might read.
func csrPEM(b []byte) ([]byte, error) {
	t := strings.TrimLeft(string(b), " \t\r\n")
	if !strings.HasPrefix(t, "-----BEGIN ") {
		return nil, badRequest("The request is not PEM: it must begin with -----BEGIN CERTIFICATE REQUEST-----.")
	}
	block, rest := pem.Decode([]byte(t))
	switch {
	case block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" || len(block.Headers) > 0 ||
		!strings.HasPrefix(t, "-----BEGIN "+block.Type+"-----"):
		return nil, badRequest("The PEM block must be a CERTIFICATE REQUEST, whole and without headers.")
	case len(strings.TrimSpace(string(rest))) > 0:
		return nil, badRequest("Send one certification request at a time, and nothing after it.")
	}
	return block.Bytes, nil
}
