package archive_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"sluice/internal/archive"
	"sluice/internal/pgtest"
)

// TestCheck: a role that may not create tables is found before the first event.
func TestCheck(t *testing.T) {
	t.Parallel()
	url := pgtest.Start(t).Database()
	if err := archive.Check(t.Context(), url); err != nil {
		t.Error(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "CREATE ROLE reader LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC"); err != nil {
		t.Fatal(err)
	}
	if err := archive.Check(t.Context(), strings.Replace(url, "postgres@", "reader@", 1)); err == nil || !strings.Contains(err.Error(), "Grant it CREATE") {
		t.Error(err)
	}
	if err := archive.Check(t.Context(), strings.Replace(url, "postgres@", "missing@", 1)); err == nil {
		t.Error("a role that does not exist is accepted")
	}
}
