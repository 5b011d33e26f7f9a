package archive

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"sluice/internal/postgres"
)

//go:embed migrations
var migrations embed.FS

const (
	partitionPrefix = "sluice_archive_"
	partitionDay    = "20060102"
	day             = 24 * time.Hour
	// partitionLock is the key of the advisory lock under which one worker makes or drops partitions.
	partitionLock = 1399616596
)

// prepare connects and migrates if necessary, and makes and drops partitions once an hour.
func (a *Archive) prepare(ctx context.Context) error {
	if a.conn == nil {
		if err := Migrate(ctx, a.config); err != nil {
			return err
		}
		conn, err := pgx.ConnectConfig(ctx, a.config)
		if err != nil {
			return err
		}
		a.conn, a.days = conn, map[string]bool{}
	}
	if time.Since(a.tidied) < tidyEvery {
		return nil
	}
	a.tidied = time.Now()
	if err := a.partition(ctx, a.tidied.Add(day)); err != nil {
		return err
	}
	return a.drop(ctx, a.tidied.Add(-a.o.Retention))
}

// Check reports whether a worker could write to the database: whether it answers, and whether the role may create tables. It writes nothing.
// Its error does not quote the URL.
func Check(ctx context.Context, url string) error {
	config, err := postgres.Parse("archive", url)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return explain(postgres.Use(ctx, config, func(conn *pgx.Conn) error {
		var may bool
		if err := conn.QueryRow(ctx, "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)").Scan(&may); err != nil {
			return err
		}
		if !may {
			return errors.New("the role may not create tables in the schema of the archive. Grant it CREATE on the first schema of its search_path")
		}
		return nil
	}))
}

// Migrate creates the tables of the archive, or brings them to the present form. Workers that do it at the same time wait for
// each other.
func Migrate(ctx context.Context, config *pgx.ConnConfig) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 20)) // a try each second
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*config)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithTableName("sluice_archive_version"), goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// partition makes the partition of the day of a time, unless it exists. To attach a table locks neither readers nor writers out.
func (a *Archive) partition(ctx context.Context, at time.Time) error {
	from := at.UTC().Truncate(day)
	name := partitionPrefix + from.Format(partitionDay)
	if a.days[name] {
		return nil
	}
	err := pgx.BeginFunc(ctx, a.conn, func(tx pgx.Tx) error {
		var exists bool
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::bigint)`, int64(partitionLock)); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT to_regclass($1::text) IS NOT NULL`, name).Scan(&exists); err != nil || exists {
			return err
		}
		if _, err := tx.Exec(ctx, `CREATE TABLE `+name+` (LIKE sluice_archive INCLUDING ALL)`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, fmt.Sprintf(`ALTER TABLE sluice_archive ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')`, name, from.Format(time.RFC3339), from.Add(day).Format(time.RFC3339)))
		return err
	})
	if err == nil {
		a.days[name] = true
	}
	return err
}

// drop drops the partitions of days that ended before a time. It does not wait for a long query: then the next hour drops them.
func (a *Archive) drop(ctx context.Context, before time.Time) error {
	names, err := Partitions(ctx, a.conn)
	if err != nil {
		return err
	}
	for _, name := range names {
		from, err := time.Parse(partitionDay, strings.TrimPrefix(name, partitionPrefix))
		if err != nil || from.Add(day).After(before) {
			continue
		}
		delete(a.days, name)
		err = pgx.BeginFunc(ctx, a.conn, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `SELECT set_config('lock_timeout', '2s', true), pg_advisory_xact_lock($1::bigint)`, int64(partitionLock))
			if err == nil {
				_, err = tx.Exec(ctx, `DROP TABLE IF EXISTS `+pgx.Identifier{name}.Sanitize())
			}
			return err
		})
		if err != nil {
			a.o.Log.Warn("cannot drop old part of the archive, will retry", "table", name, "err", explain(err))
		}
	}
	return nil
}

// Partitions returns the names of the partitions, the oldest first.
func Partitions(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	found, err := conn.Query(ctx, `SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'sluice_archive'::regclass ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, pgx.RowTo[string])
}

const insert = `INSERT INTO sluice_archive (at, seq, stream, line, kind, phone_number_id, message_id, state, result, attempt, code, reason,
	class, type, template, ref, tags, recipient, region, waba_id, meta_id, pricing_category, pricing_type, billable)
SELECT at, seq, stream, line, kind, phone_number_id, nullif(message_id, ''), state, nullif(result, ''), nullif(attempt, 0), nullif(code, 0), nullif(reason, ''),
	nullif(class, ''), nullif(type, ''), nullif(template, ''), nullif(ref, ''), CASE WHEN tags <> '' THEN ARRAY(SELECT jsonb_array_elements_text(tags::jsonb)) END,
	nullif(recipient, 0), nullif(region, ''), nullif(waba_id, ''), nullif(meta_id, 0), nullif(pricing_category, ''), nullif(pricing_type, ''),
	CASE WHEN pricing_category <> '' THEN billable END
FROM unnest($1::timestamptz[], $2::bigint[], $3::smallint[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::integer[], $11::bigint[], $12::text[],
	$13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::bigint[], $19::text[], $20::text[], $21::bigint[], $22::text[], $23::text[], $24::boolean[])
	AS d (at, seq, stream, line, kind, phone_number_id, message_id, state, result, attempt, code, reason,
	class, type, template, ref, tags, recipient, region, waba_id, meta_id, pricing_category, pricing_type, billable)
ON CONFLICT DO NOTHING`

// write writes rows in one transaction, and returns how many the archive did not have.
func (a *Archive) write(ctx context.Context, r *rows) (added int, err error) {
	for _, at := range r.at {
		if err := a.partition(ctx, at); err != nil {
			return 0, err
		}
	}
	if r.len() == 0 {
		return 0, nil
	}
	done, err := a.conn.Exec(ctx, insert, r.at, r.seq, r.stream, r.line, r.kind, r.number, r.id, r.state, r.result, r.attempt, r.code, r.reason,
		r.class, r.typ, r.template, r.ref, r.tags, r.recipient, r.region, r.account, r.metaID, r.category, r.pricingType, r.billable)
	return int(done.RowsAffected()), err
}

// explain returns an error of PostgreSQL in one line, with what to do.
func explain(err error) error {
	return postgres.Explain(err, "Start a worker with the role archive: it creates the tables", "Grant the rights that docs/archive.md lists")
}
