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
const about = `recipient = $1 OR message_id = ANY($2)`

// find returns the hash of a recipient, and the ids of the messages to it. With the ids as a parameter, PostgreSQL uses both indexes.
func (r *Recipients) find(ctx context.Context, conn *pgx.Conn, recipient string) (hash int64, ids []string, err error) {
	hash = number(HashRecipient(r.hash, recipient))
	found, err := conn.Query(ctx, `SELECT DISTINCT message_id FROM sluice_archive WHERE recipient = $1 AND message_id IS NOT NULL`, hash)
	if err == nil {
		ids, err = pgx.CollectRows(found, pgx.RowTo[string])
	}
	return hash, ids, err
}

// Export calls f with each row about a recipient, a phone number with its country code or a business-scoped user id, the oldest
// first.
func (r *Recipients) Export(ctx context.Context, recipient string, f func(Event) error) error {
	return explain(postgres.Use(ctx, r.config, func(conn *pgx.Conn) error {
		hash, ids, err := r.find(ctx, conn, recipient)
		if err != nil {
			return err
		}
		found, err := conn.Query(ctx, `SELECT at, kind, phone_number_id, coalesce(message_id, ''), state, coalesce(result, ''), coalesce(code, 0), coalesce(reason, ''), coalesce(class, ''),
			coalesce(type, ''), coalesce(template, ''), coalesce(ref, ''), tags, coalesce(region, ''), coalesce(waba_id, ''), coalesce(pricing_category, '')
			FROM sluice_archive WHERE `+about+` ORDER BY at, seq, stream, line`, hash, ids)
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
	err = postgres.Use(ctx, r.config, func(conn *pgx.Conn) error {
		hash, ids, err := r.find(ctx, conn, recipient)
		if err != nil {
			return err
		}
		done, err := conn.Exec(ctx, `DELETE FROM sluice_archive WHERE `+about, hash, ids)
		rows = int(done.RowsAffected())
		return err
	})
	return rows, explain(err)
}
