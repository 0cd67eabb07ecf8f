package engine

import (
	"context"
	"time"

	"chancery/engine/names"
)

// An EventKind is what happened to a request or certificate.
type EventKind string

// All kinds there are.
const (
	EventIssued  EventKind = "issued"
	EventPending EventKind = "pending"
	EventDenied  EventKind = "denied"
	EventRevoked EventKind = "revoked" // also held, and released (Status says which)
)

// EventKinds lists all of them.
var EventKinds = []EventKind{EventIssued, EventPending, EventDenied, EventRevoked}

// An Event is something that has durably happened, as exits are told of it: a
// typed projection of request and certificate without anything secret, never
// the rows themselves.
type Event struct {
	ID        string       `json:"id"` // unique, and the same on redelivery
	Kind      EventKind    `json:"kind"`
	At        time.Time    `json:"at"`
	RequestID string       `json:"request"`
	Source    Source       `json:"source"`
	Endpoint  string       `json:"endpoint,omitempty"`
	Requester Principal    `json:"requester"`
	Profile   string       `json:"profile,omitempty"`
	Authority string       `json:"authority,omitempty"`
	Issuer    string       `json:"issuer,omitempty"` // key identifier of the CA key, hexadecimal
	Serial    string       `json:"serial,omitempty"` // hexadecimal
	Subject   string       `json:"subject,omitempty"`
	Names     []names.Name `json:"names,omitempty"`
	NotBefore time.Time    `json:"not_before,omitzero"`
	NotAfter  time.Time    `json:"not_after,omitzero"`
	Status    Status       `json:"status,omitempty"`
	Reason    string       `json:"reason,omitempty"` // of a denial or revocation
	Detail    string       `json:"detail,omitempty"`
	DER       []byte       `json:"-"` // the certificate, if there is one
}

// An Exit is told about events, at least once each, in no particular order.
type Exit interface {
	// Wants lists the kinds of events that the exit is told of.
	Wants() []EventKind

	// Tell returns nil when the exit has durably taken the event. An event that
	// it refuses is told again later, with the same ID. Several calls may run at
	// the same time.
	Tell(ctx context.Context, ev Event) error
}

// A Batcher is an exit that takes many events together more cheaply than one
// after another. TellAll takes all of them or none.
type Batcher interface {
	TellAll(ctx context.Context, all []Event) error
}

// A Releaser is an exit that holds something between events, such as a
// connection or an open file. Release lets go of it, because the exit is told
// nothing more for now; it may be told again after that.
type Releaser interface{ Release() }
