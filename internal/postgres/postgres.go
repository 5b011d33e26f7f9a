// Package postgres reads the URL of a PostgreSQL database, and writes its errors in one line. Neither quotes the password.
package postgres

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ConnectTimeout is the time limit of a connect.
const ConnectTimeout = 10 * time.Second

// Parse reads the URL of a database. The error does not quote it. what names the database for the reader: "outbox".
func Parse(what, url string) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(url)
	if err != nil || !strings.Contains(url, "://") {
		return nil, errors.New("the URL of the " + what + " database is not valid: write it like postgres://user:password@host:5432/database?sslmode=verify-full")
	}
	// A pooler can give each transaction another connection, without the prepared statements of the one before.
	c.DefaultQueryExecMode = pgx.QueryExecModeExec
	c.ConnectTimeout = ConnectTimeout
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "sluice"
	}
	return c, nil
}

// Use connects to a database, calls f, and disconnects. It blocks until ctx ends at the longest.
func Use(ctx context.Context, config *pgx.ConnConfig, f func(*pgx.Conn) error) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer Close(conn)
	return f(conn)
}

// Close ends a connection, which may be broken, within a second. conn may be nil.
func Close(conn *pgx.Conn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn.Close(ctx)
}

// Explain returns an error in one line. missing and forbidden say what to do when a table is missing or a right is.
func Explain(err error, missing, forbidden string) error {
	if err == nil {
		return nil
	}
	text := strings.Join(strings.Fields(err.Error()), " ") // that of a connect has a line for each address
	if refused, is := errors.AsType[*pgconn.PgError](err); is {
		switch refused.Code {
		case "42P01", "42703", "42704", "3F000": // no such table, column, type, schema
			text += ". " + missing
		case "42501": // insufficient privilege
			text += ". " + forbidden
		}
	}
	return errors.New(text)
}
