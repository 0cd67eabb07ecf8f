package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// viewPrefix begins the names of the views for people: v_requests shows the
// table requests.
const viewPrefix = "v_"

// people makes views that show documents to people, where they are missing. No
// document makes them fail: what is no JSON that jsonb can hold is shown as text,
// what is no text as bytes.
func (p *preparer) people(ctx context.Context, tx pgx.Tx) error {
	fn := quote(p.d.schema, "_document")
	made := false
	for _, s := range p.schemas {
		view := quote(p.d.schema, viewPrefix+s.Name)
		var there bool
		if err := tx.QueryRow(ctx, "select to_regclass($1) is not null", view).Scan(&there); err != nil {
			return err
		}
		if there {
			continue
		}
		if !made {
			// A document is a checksum of four bytes, a version of one, and what
			// the table keeps: see chancery/store, Table and Blobs.
			if _, err := tx.Exec(ctx, "create or replace function "+fn+`(doc bytea) returns jsonb
				language plpgsql immutable parallel safe set search_path = pg_catalog as $$
				declare body text;
				begin
					body := convert_from(substr(doc, 6), 'UTF8');
					return body::jsonb;
				exception when others then
					return coalesce(to_jsonb(body), jsonb_build_object('bytes', encode(doc, 'hex')));
				end $$`); err != nil {
				return err
			}
			made = true
		}
		if _, err := tx.Exec(ctx, "create view "+view+` as select encode(key, 'escape') as key,
			case when length(doc) >= 5 then get_byte(doc, 4) end as format, length(doc) as size, `+fn+"(doc) as document from "+quote(p.d.schema, s.Name)); err != nil {
			return err
		}
	}
	return nil
}
