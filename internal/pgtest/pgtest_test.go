package pgtest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"sluice/internal/pgtest"
)

// TestRestart: what was committed before Kill is there after Restart.
func TestRestart(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	ask := func(sql string) (n int, err error) {
		conn, err := pgx.Connect(t.Context(), s.URL())
		if err != nil {
			return 0, err
		}
		defer conn.Close(t.Context())
		return n, conn.QueryRow(t.Context(), sql).Scan(&n)
	}
	if _, err := ask("CREATE TABLE a AS SELECT 7 AS n"); err != pgx.ErrNoRows {
		t.Fatal(err)
	}
	s.Kill()
	if _, err := ask("SELECT 1"); err == nil {
		t.Error("the server answers after Kill")
	}
	s.Restart()
	if n, err := ask("SELECT n FROM a"); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
