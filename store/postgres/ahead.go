package postgres

import "chancery/store"

// mostAhead is how many statements go to the server at once. Their requests are
// small enough for the buffers of a connection, so that neither side waits for
// the other, however long the answers are.
const mostAhead = 64

// A query is a statement with its parameters.
type query struct {
	stmt   int
	params [][]byte
}

// Ahead reads documents in one round trip, for Gets to come. An error is for
// the first of these to tell.
func (r *reader) Ahead(refs []store.Ref) {
	if r.ready() != nil {
		return
	}
	for n := min(len(refs), mostAhead); n > 1; n = min(len(refs), mostAhead) {
		if r.together(refs[:n]) != nil {
			return
		}
		refs = refs[n:]
	}
}

// together reads documents, in one exchange.
func (r *reader) together(refs []store.Ref) error {
	all := make([]query, len(refs))
	for i, p := range refs {
		stmt, err := r.d.stmts.of(p.Table, stmtGet)
		if err != nil {
			return err
		}
		all[i] = query{stmt, [][]byte{[]byte(p.Key)}}
	}
	found := make([][]byte, len(refs))
	last := all[len(all)-1]
	r.before = all[:len(all)-1]
	err := r.read(refs[0].Table, func(row [][]byte) {
		found[r.s.done-r.begun] = append([]byte{}, row[0]...)
	}, last.stmt, last.params...)
	r.before = nil
	if err != nil {
		return err
	}
	if r.known == nil {
		r.known = make(map[store.Ref][]byte, len(refs))
	}
	for i, p := range refs {
		r.known[p] = found[i]
	}
	return nil
}

// got is a document that was read before; nil: it was found to be missing.
func (r *reader) got(table, key string) (doc []byte, ok bool) {
	if r.known == nil {
		return nil, false
	}
	doc, ok = r.known[store.Ref{Table: table, Key: key}]
	if doc != nil {
		doc = append([]byte{}, doc...) // whoever gets it may change it
	}
	return doc, ok
}
