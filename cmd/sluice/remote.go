package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/user"
	"reflect"
	"strconv"
	"text/tabwriter"
	"time"

	"sluice/client"
	"sluice/internal/message"
)

// apiFlags are the flags of commands that call the API.
type apiFlags struct {
	API    string `default:"http://127.0.0.1:8080" env:"SLUICE_API" help:"Base URL of the API."`
	APIKey string `env:"SLUICE_API_KEY" required:"" help:"API key. Set the environment variable rather than the flag."`
	JSON   bool   `help:"Print the answer as JSON, for scripts."`
}

// consoleFlags are the flags of commands that call the console.
type consoleFlags struct {
	Console string `default:"http://127.0.0.1:8081" env:"SLUICE_CONSOLE" help:"Base URL of the console."`
	APIKey  string `env:"SLUICE_API_KEY" required:"" help:"API key with the scope admin. Set the environment variable rather than the flag."`
	JSON    bool   `help:"Print the answer as JSON, for scripts."`
}

// signature has the flags that every order has.
type signature struct {
	Reason string `required:"" help:"Why, for the audit log."`
	Actor  string `help:"Who does this, for the audit log. Default: your user name, or operator if it begins with sluice." placeholder:"NAME"`
}

// order adds actor and reason to an order, and removes from it the members that are not given.
func (s signature) order(what map[string]any) map[string]any {
	maps.DeleteFunc(what, func(_ string, value any) bool {
		v := reflect.ValueOf(value)
		return v.Kind() == reflect.Pointer && v.IsNil()
	})
	what["reason"], what["actor"] = s.Reason, s.Actor
	if s.Actor == "" {
		what["actor"] = operator()
	}
	return what
}

// operator returns the user name of the operator.
func operator() string {
	if u, err := user.Current(); err == nil {
		return actorOf(u.Username)
	}
	return "operator"
}

// actorOf returns the actor for a user name: "operator" for the user of the service, because the console refuses reserved names.
func actorOf(username string) string {
	if message.ReservedActor(username) {
		return "operator"
	}
	return username
}

func (f apiFlags) ask(ctx context.Context, method, path string, in any, show func(table, json.RawMessage) error) error {
	return ask(ctx, once(f.API, f.APIKey), f.JSON, method, path, in, show)
}

func (f consoleFlags) ask(ctx context.Context, method, path string, in any, show func(table, json.RawMessage) error) error {
	return ask(ctx, once(f.Console, f.APIKey), f.JSON, method, path, in, show)
}

// once returns a client that makes each call once: an operator wants to see a failure, and not to wait.
func once(url, key string) *client.Client { return client.New(url, key, client.WithRetryFor(0)) }

// ask prints an answer as it is, or with show.
func ask(ctx context.Context, c *client.Client, raw bool, method, path string, in any, show func(table, json.RawMessage) error) error {
	var answer json.RawMessage
	if err := c.Call(ctx, method, path, in, &answer); err != nil {
		return err
	}
	if raw {
		_, err := fmt.Printf("%s\n", answer)
		return err
	}
	t := table{tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)}
	if err := show(t, answer); err != nil {
		return err
	}
	return t.Flush()
}

// read returns a show that decodes the answer first.
func read[T any](show func(t table, answer T)) func(table, json.RawMessage) error {
	return func(t table, raw json.RawMessage) error {
		var answer T
		if err := json.Unmarshal(raw, &answer); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		show(t, answer)
		return nil
	}
}

// table prints rows in columns.
type table struct{ *tabwriter.Writer }

func (t table) row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			io.WriteString(t, "\t")
		}
		fmt.Fprint(t, c)
	}
	io.WriteString(t, "\n")
}

// clock returns a time in the local time zone, or otherwise when there is none.
func clock(t time.Time, otherwise string) string {
	if t.IsZero() {
		return otherwise
	}
	return t.Local().Format(time.DateTime)
}

// query appends a query to a path: names and values in turn. A value is a *string or a *int, and nil when it is not
// given. A value that is given and empty is sent, and the server refuses it: an empty variable in a script must not
// mean "all".
func query(path string, pairs ...any) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name := pairs[i].(string)
		switch value := pairs[i+1].(type) {
		case *string:
			if value != nil {
				q.Set(name, *value)
			}
		case *int:
			if value != nil {
				q.Set(name, strconv.Itoa(*value))
			}
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}
