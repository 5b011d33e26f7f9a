package config

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/joho/godotenv"
)

// Env returns a function that looks up an environment variable: in the environment of the process, else in
// the file .env of the working directory, if there is one.
func Env() (func(string) string, error) {
	file, err := godotenv.Read(".env")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.Getenv, nil
	case err != nil: // the error of the parser quotes the file, which has secrets
		return nil, errors.New(".env: cannot read the file. Each line must be NAME=value")
	}
	for name, v := range file { // the SDK of OpenTelemetry reads the environment of the process
		if _, ok := os.LookupEnv(name); !ok && strings.HasPrefix(name, "OTEL_") {
			os.Setenv(name, v)
		}
	}
	return func(name string) string {
		if v, ok := os.LookupEnv(name); ok {
			return v
		}
		return file[name]
	}, nil
}

// guides reads the variables that the common guides use for a single number, and one API
// key in clear text. They add to the lists of the file. If both name the same number or app, the variables win.
func (l *loader) guides() {
	l.checkSecrets()
	if id := l.getenv("PHONE_NUMBER_ID"); id != "" {
		var checked string
		if err := numberID(&checked)(id); err != nil {
			l.fail("PHONE_NUMBER_ID (environment)", err)
			checked = "(PHONE_NUMBER_ID)" // the value may be a phone number, so no error quotes it
		}
		n := l.numberNamed(checked)
		if token := l.getenv("ACCESS_TOKEN"); token != "" {
			n.token = Secret(token)
		}
	}
	secret, verify := l.getenv("APP_SECRET"), l.getenv("VERIFY_TOKEN")
	if secret != "" || verify != "" {
		a := l.appNamed("main")
		if secret != "" {
			a.Secret, a.secretFile = Secret(secret), ""
		}
		if verify != "" {
			a.VerifyToken, a.verifyTokenFile = Secret(verify), ""
		}
	}
	if key := l.getenv("SLUICE_API_KEY"); key != "" {
		l.need(len(key) >= 16, "SLUICE_API_KEY (environment)", "is shorter than 16 characters: make one with `openssl rand -hex 32`")
		l.keys = append(l.keys, APIKey{
			Name: "environment", SHA256: sha256.Sum256([]byte(key)),
			Numbers: []string{"*"}, Scopes: Scopes(),
		})
	}
}

// numberNamed returns the number with this id. It adds the number if the list does not have it.
func (l *loader) numberNamed(id string) *number {
	for i := range l.numbers {
		if l.numbers[i].ID == id {
			return &l.numbers[i]
		}
	}
	l.numbers = append(l.numbers, number{Number: Number{ID: id, Rate: DefaultRate, Learn: true}})
	return &l.numbers[len(l.numbers)-1]
}

// appNamed returns the app with this name. It adds the app if the list does not have it.
func (l *loader) appNamed(name string) *app {
	for i := range l.apps {
		if l.apps[i].Name == name {
			return &l.apps[i]
		}
	}
	l.apps = append(l.apps, app{App: App{Name: name}})
	return &l.apps[len(l.apps)-1]
}
