package deploytest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"sluice/internal/config"
)

// TestComposeArchive: with deploy/compose/archive.yaml producers and workers read the URL of a database that it starts, with its password.
func TestComposeArchive(t *testing.T) {
	p := project(t, nil, "deploy/compose/archive.yaml")
	secret := func(name string) string {
		b, err := os.ReadFile(p.Secrets[name].File)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	db := p.Services["postgres"]
	if db.HealthCheck == nil || len(db.Volumes) != 1 || *db.Environment["POSTGRES_PASSWORD_FILE"] != "/run/secrets/archive_password" {
		t.Errorf("the database has no health check, no volume or no password: %+v", db)
	}
	user, name := *db.Environment["POSTGRES_USER"], *db.Environment["POSTGRES_DB"]
	if got, want := secret("archive_database_url"), "postgres://"+user+":"+secret("archive_password")+"@postgres:5432/"+name+"?sslmode=disable"; got != want {
		t.Errorf("the programs read %s, want %s", got, want)
	}
	for _, program := range []string{"producer", "worker"} {
		s := p.Services[program]
		file := *s.Environment["SLUICE_ARCHIVE_DATABASE_URL_FILE"]
		var secrets []string
		for _, one := range s.Secrets {
			secrets = append(secrets, "/run/secrets/"+one.Source)
		}
		if !slices.Contains(secrets, file) || !slices.Contains(secrets, "/run/secrets/secrets_key") {
			t.Errorf("%s reads %s and has only %q", program, file, secrets)
		}
	}
	c, err := config.LoadProducer(nil, func(name string) string {
		return map[string]string{
			"SLUICE_ARCHIVE_DATABASE_URL_FILE": p.Secrets["archive_database_url"].File, "SLUICE_SECRETS_KEY": "a-key-for-secrets-in-redis",
			"PHONE_NUMBER_ID": "106540352242922", "SLUICE_API_KEY": "a-key-that-is-long-enough-for-a-test",
		}[name]
	})
	if err != nil || string(c.Archive.URL) != secret("archive_database_url") {
		t.Errorf("%v: the archive of the programs is not at that URL", err)
	}
}
