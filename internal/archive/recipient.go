package archive

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/postgres"
)

// Event is a row of the archive, for a person who asks what is stored about them.
type Event struct {
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	Number   string    `json:"phone_number_id"`
	ID       string    `json:"message_id,omitempty"`
	State    string    `json:"state"`
	Result   string    `json:"result,omitempty"`
	Code     int64     `json:"code,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Class    string    `json:"class,omitempty"`
	Type     string    `json:"type,omitempty"`
	Template string    `json:"template,omitempty"`
	Ref      string    `json:"ref,omitempty"`
	Tags     []string  `json:"tags,omitempty"`
	Region   string    `json:"region,omitempty"`
	Account  string    `json:"waba_id,omitempty"`
	Category string    `json:"pricing_category,omitempty"`
}

// Recipients finds what the archive has about a recipient.
type Recipients struct {
	config *pgx.ConnConfig
	hash   func(string) string
}

// NewRecipients returns the Recipients of the archive at a URL. hash is that of Options.
func NewRecipients(url string, hash func(string) string) (*Recipients, error) {
	config, err := postgres.Parse("archive", url)
	return &Recipients{config, hash}, err
}

// about selects the rows of a recipient: those with the hash ($1), and those of the same messages ($2).
const about = `recipient = ANY($1) OR message_id = ANY($2)`

// find returns the ids of the messages to recipients with keyed hashes. With the ids as a parameter, PostgreSQL uses both indexes.
func find(ctx context.Context, conn *pgx.Conn, hashes []int64) (ids []string, err error) {
	found, err := conn.Query(ctx, `SELECT DISTINCT message_id FROM sluice_archive WHERE recipient = ANY($1) AND message_id IS NOT NULL`, hashes)
	if err == nil {
		ids, err = pgx.CollectRows(found, pgx.RowTo[string])
	}
	return ids, err
}

// numbers returns keyed hashes as the archive has them.
func numbers(hashes []string) []int64 {
	all := make([]int64, len(hashes))
	for i, h := range hashes {
		all[i] = number(h)
	}
	return all
}

// Export calls f with each row about a recipient, a phone number with its country code or a business-scoped user id, the oldest
// first.
func (r *Recipients) Export(ctx context.Context, recipient string, f func(Event) error) error {
	return r.ExportAll(ctx, []string{HashRecipient(r.hash, recipient)}, f)
}

// ExportAll is Export for all recipients with some keyed hashes.
func (r *Recipients) ExportAll(ctx context.Context, all []string, f func(Event) error) error {
	hashes := numbers(all)
	return explain(postgres.Use(ctx, r.config, func(conn *pgx.Conn) error {
		ids, err := find(ctx, conn, hashes)
		if err != nil {
			return err
		}
		found, err := conn.Query(ctx, `SELECT at, kind, phone_number_id, coalesce(message_id, ''), state, coalesce(result, ''), coalesce(code, 0), coalesce(reason, ''), coalesce(class, ''),
			coalesce(type, ''), coalesce(template, ''), coalesce(ref, ''), tags, coalesce(region, ''), coalesce(waba_id, ''), coalesce(pricing_category, '')
			FROM sluice_archive WHERE `+about+` ORDER BY at, seq, stream, line`, hashes, ids)
		if err != nil {
			return err
		}
		var e Event
		_, err = pgx.ForEachRow(found, []any{&e.At, &e.Kind, &e.Number, &e.ID, &e.State, &e.Result, &e.Code, &e.Reason, &e.Class, &e.Type, &e.Template, &e.Ref, &e.Tags, &e.Region, &e.Account, &e.Category}, func() error {
			e.At = e.At.UTC()
			return f(e)
		})
		return err
	}))
}

// Delete deletes the rows about a recipient in one transaction, and returns their number.
func (r *Recipients) Delete(ctx context.Context, recipient string) (rows int, err error) {
	return r.DeleteAll(ctx, []string{HashRecipient(r.hash, recipient)})
}

// DeleteAll is Delete for all recipients with some keyed hashes.
func (r *Recipients) DeleteAll(ctx context.Context, all []string) (rows int, err error) {
	hashes := numbers(all)
	err = postgres.Use(ctx, r.config, func(conn *pgx.Conn) error {
		ids, err := find(ctx, conn, hashes)
		if err != nil {
			return err
		}
		done, err := conn.Exec(ctx, `DELETE FROM sluice_archive WHERE `+about, hashes, ids)
		rows = int(done.RowsAffected())
		return err
	})
	return rows, explain(err)
}
