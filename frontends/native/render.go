package native

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chancery/engine"
)

func param(r *http.Request, name string) string { return chi.URLParam(r, name) }

// What a request came to, as JSON.
type (
	issuedView struct {
		ID          string    `json:"id"`
		Status      string    `json:"status"` // issued
		Serial      string    `json:"serial"`
		Issuer      string    `json:"issuer"` // key identifier of the CA key
		NotAfter    time.Time `json:"not_after"`
		Certificate string    `json:"certificate"` // PEM
		Chain       string    `json:"chain"`       // PEM, the certificate first, without the root
	}
	pendedView struct {
		ID         string `json:"id"`
		Status     string `json:"status"`      // pending
		RetryAfter int64  `json:"retry_after"` // seconds, as in the header
	}
	endedView struct {
		ID     string `json:"id"`
		Status string `json:"status"` // denied
		Reason string `json:"reason"`
		Detail string `json:"detail"`
	}
)

// disposition answers the requester. status is the one for a certificate.
func (f *Frontend) disposition(w http.ResponseWriter, r *http.Request, d engine.Disposition, status int) error {
	ctx := r.Context()
	switch d := d.(type) {
	case engine.Issued:
		f.d.Note(ctx, "outcome", "issued")
		f.d.Note(ctx, "id", d.RequestID)
		f.d.Note(ctx, "serial", d.ID.Serial)
		until, err := notAfter(d.Cert)
		if err != nil {
			return err
		}
		chain := pemCertificates(d.Cert, d.Chain...)
		w.Header().Set("Location", prefix+"/requests/"+d.RequestID)
		return f.ok(w, status, issuedView{d.RequestID, "issued", d.ID.Serial, d.ID.Issuer, until, chain[:pemLength(len(d.Cert))], chain})
	case engine.Pended:
		f.d.Note(ctx, "outcome", "pending")
		f.d.Note(ctx, "id", d.RequestID)
		w.Header().Set("Location", prefix+"/requests/"+d.RequestID)
		w.Header().Set("Retry-After", seconds(d.RetryAfter))
		return f.ok(w, http.StatusAccepted, pendedView{d.RequestID, "pending", wholeSeconds(d.RetryAfter)})
	case engine.Denied:
		f.d.Note(ctx, "outcome", "denied")
		f.d.Note(ctx, "id", d.RequestID)
		return denial(d)
	}
	return fmt.Errorf("the engine answered with a %T", d)
}

// decided answers an officer, for whom a denial is no error.
func (f *Frontend) decided(w http.ResponseWriter, r *http.Request, d engine.Disposition) error {
	if d, ok := d.(engine.Denied); ok {
		f.d.Note(r.Context(), "id", d.RequestID)
		return f.ok(w, http.StatusOK, endedView{d.RequestID, "denied", string(d.Reason), d.Detail})
	}
	return f.disposition(w, r, d, http.StatusOK)
}

func wholeSeconds(d time.Duration) int64 {
	return int64(max(d+time.Second-1, time.Second) / time.Second)
}

func pemCertificates(leaf []byte, rest ...[]byte) string {
	n := pemLength(len(leaf))
	for _, der := range rest {
		n += pemLength(len(der))
	}
	b := make(appender, 0, n)
	for _, der := range append([][]byte{leaf}, rest...) {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // an appender takes everything
	}
	return string(b)
}

// pemLength is how long a certificate of n octets is in PEM.
func pemLength(n int) int {
	b64 := (n + 2) / 3 * 4
	return len("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n") + b64 + (b64+63)/64
}

type appender []byte

func (a *appender) Write(b []byte) (int, error) {
	*a = append(*a, b...)
	return len(b), nil
}

// notAfter reads the end of a certificate's validity and nothing else: parsing
// all of it would check a point on a curve that nobody asks for.
func notAfter(der []byte) (time.Time, error) {
	in := cryptobyte.String(der)
	var cert, tbs, validity cryptobyte.String
	var t time.Time
	ok := in.ReadASN1(&cert, asn1.SEQUENCE) && cert.ReadASN1(&tbs, asn1.SEQUENCE) &&
		tbs.SkipOptionalASN1(asn1.Tag(0).ContextSpecific().Constructed()) && // version
		tbs.SkipASN1(asn1.INTEGER) && // serialNumber
		tbs.SkipASN1(asn1.SEQUENCE) && // signature
		tbs.SkipASN1(asn1.SEQUENCE) && // issuer
		tbs.ReadASN1(&validity, asn1.SEQUENCE) &&
		validity.SkipASN1(timeTag(validity))
	if ok {
		if validity.PeekASN1Tag(asn1.UTCTime) {
			ok = validity.ReadASN1UTCTime(&t)
		} else {
			ok = validity.ReadASN1GeneralizedTime(&t)
		}
	}
	if !ok {
		return t, fmt.Errorf("the engine's certificate cannot be read")
	}
	return t.UTC(), nil
}

func timeTag(s cryptobyte.String) asn1.Tag {
	if s.PeekASN1Tag(asn1.UTCTime) {
		return asn1.UTCTime
	}
	return asn1.GeneralizedTime
}
