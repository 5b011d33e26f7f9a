package config

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"

	"github.com/joho/godotenv"
)

// Env returns what looks up an environment variable: in the process's environment, else in
// the file .env of the working directory, if there is one.
func Env() (func(string) string, error) {
	file, err := godotenv.Read(".env")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.Getenv, nil
	case err != nil: // the parser's own words quote the file, and it holds secrets
		return nil, errors.New(".env: is not a file of NAME=value lines that can be read")
	}
	return func(name string) string {
		if v, ok := os.LookupEnv(name); ok {
			return v
		}
		return file[name]
	}, nil
}

// guides takes in the variables that the common guides use for a single number, and one API
// key in the clear. They add to the lists of the file and win where both name the same.
func (l *loader) guides() {
	l.checkSecrets()
	if id := l.getenv("PHONE_NUMBER_ID"); id != "" {
		var checked string
		if err := numberID(&checked)(id); err != nil {
			l.fail("PHONE_NUMBER_ID (environment)", err)
			checked = "(PHONE_NUMBER_ID)" // what stands there may be a phone number: no message quotes it
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

// numberNamed returns the number of that id, a new one if need be.
func (l *loader) numberNamed(id string) *number {
	for i := range l.numbers {
		if l.numbers[i].ID == id {
			return &l.numbers[i]
		}
	}
	l.numbers = append(l.numbers, number{Number: Number{ID: id, Rate: DefaultRate, Learn: true}})
	return &l.numbers[len(l.numbers)-1]
}

// appNamed returns the app of that name, a new one if need be.
func (l *loader) appNamed(name string) *app {
	for i := range l.apps {
		if l.apps[i].Name == name {
			return &l.apps[i]
		}
	}
	l.apps = append(l.apps, app{App: App{Name: name}})
	return &l.apps[len(l.apps)-1]
}
