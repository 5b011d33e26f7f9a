package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/config"
	"sluice/internal/directory"
	"sluice/internal/message"
)

// given returns the members whose flags were given. A flag that is given and empty removes the member.
func given(all map[string]any) map[string]any {
	out := map[string]any{}
	for name, value := range all {
		switch v := value.(type) {
		case *string:
			if v == nil {
				continue
			}
			if out[name] = *v; *v == "" {
				out[name] = nil
			}
		case *int:
			if v != nil {
				out[name] = *v
			}
		case *bool:
			if v != nil {
				out[name] = *v
			}
		case []string:
			if v = slices.DeleteFunc(v, func(one string) bool { return one == "" }); len(v) > 0 {
				out[name] = v
			} else if v != nil {
				out[name] = nil
			}
		}
	}
	return out
}

// secretOf returns a secret as a flag; nil: it was not given.
func secretOf(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// nameArg is the argument of commands about one app, API key or client.
type nameArg struct {
	Name string `arg:"" help:"The name, 1 to 32 of a-z, 0-9 and -."`
}

// appsCmd has the commands about apps.
type appsCmd struct {
	List   appsListCmd   `cmd:"" help:"List the apps and where they come from."`
	Add    appsAddCmd    `cmd:"" help:"Add an app while all programs run: its webhooks come to /webhooks/whatsapp/<name>."`
	Set    appsSetCmd    `cmd:"" help:"Change the verify token of an app, or its app secret at once. To change the app secret without refusing webhooks, use rotate."`
	Rotate appsRotateCmd `cmd:"" help:"Replace the app secret of an app. Webhooks that the previous one signs are accepted for a time."`
	Remove appsRemoveCmd `cmd:"" help:"Remove an app: its webhooks are refused."`
}

type appsListCmd struct{ consoleFlags }

// Run lists the apps.
func (a appsListCmd) Run(ctx context.Context) error {
	return a.ask(ctx, "GET", "/v1/apps", nil, read(func(t table, a struct{ Apps []directory.App }) {
		t.row("APP", "FROM", "STORED SECRETS", "PREVIOUS SECRET ENDS")
		for _, one := range a.Apps {
			t.row(one.Name, source(one.State), fingerprints(one.State), clock(one.PreviousExpires, "-"))
		}
	}))
}

// appFlags are the secrets of an app.
type appFlags struct {
	SecretFile      secretArg `help:"File with the app secret, or - for standard input." placeholder:"FILE"`
	VerifyTokenFile secretArg `help:"File with the verify token of the webhook handshake, or - for standard input." placeholder:"FILE"`
}

func (f appFlags) members() (map[string]any, error) {
	secret, err := f.SecretFile.read()
	if err != nil {
		return nil, err
	}
	verify, err := f.VerifyTokenFile.read()
	return given(map[string]any{"secret": secretOf(secret), "verify_token": secretOf(verify)}), err
}

type appsAddCmd struct {
	nameArg
	appFlags
	signature
	consoleFlags
}

// Run adds an app.
func (a appsAddCmd) Run(ctx context.Context) error {
	return kindApp.put(ctx, a.consoleFlags, a.signature, a.Name, true, a.appFlags)
}

type appsSetCmd appsAddCmd

// Run changes an app.
func (a appsSetCmd) Run(ctx context.Context) error {
	return kindApp.put(ctx, a.consoleFlags, a.signature, a.Name, false, a.appFlags)
}

// previousFlag is how long a replaced secret works.
type previousFlag struct {
	PreviousFor *string `help:"How long the previous secret is accepted too. Default: 24h." placeholder:"TIME"`
}

type appsRotateCmd struct {
	nameArg
	SecretFile secretArg `required:"" help:"File with the new app secret, or - for standard input." placeholder:"FILE"`
	previousFlag
	signature
	consoleFlags
}

// Run replaces the app secret.
func (a appsRotateCmd) Run(ctx context.Context) error {
	secret, err := a.SecretFile.read()
	if err != nil {
		return err
	}
	return kindApp.order(ctx, a.consoleFlags, a.signature, a.Name, "rotate", map[string]any{"secret": secret, "previous_for": a.PreviousFor}, showStored)
}

type appsRemoveCmd struct {
	nameArg
	signature
	consoleFlags
}

// Run removes an app.
func (a appsRemoveCmd) Run(ctx context.Context) error {
	return kindApp.order(ctx, a.consoleFlags, a.signature, a.Name, "remove", map[string]any{}, showRemoved)
}

// keysCmd has the commands about API keys.
type keysCmd struct {
	List   keysListCmd   `cmd:"" help:"List the API keys with their rights and where they come from."`
	Add    keysAddCmd    `cmd:"" help:"Add an API key while all programs run. Sluice makes the key and prints it once, unless --sha256 is given."`
	Set    keysSetCmd    `cmd:"" help:"Change the rights of an API key. What no flag names stays."`
	Rotate keysRotateCmd `cmd:"" help:"Give an API key a new secret. The previous one works for a time."`
	Remove keysRemoveCmd `cmd:"" help:"Remove an API key: requests with it are refused."`
}

type keysListCmd struct{ consoleFlags }

// Run lists the API keys.
func (k keysListCmd) Run(ctx context.Context) error {
	return k.ask(ctx, "GET", "/v1/api-keys", nil, read(func(t table, a struct {
		APIKeys []directory.APIKey `json:"api_keys"`
	},
	) {
		t.row("API KEY", "CLIENT", "PHONE NUMBER IDS", "SCOPES", "LAST USED", "EXPIRES", "FROM", "SHA-256", "PREVIOUS KEY ENDS")
		for _, one := range a.APIKeys {
			expires := clock(one.Expires, "-")
			if one.Revoked {
				expires = "revoked"
			}
			t.row(one.Name, orDash(one.Client), strings.Join(one.Numbers, ","), strings.Join(one.Scopes, ","), clock(one.LastUsed, "-"), expires, source(one.State), short(one.SHA256), clock(one.PreviousExpires, "-"))
		}
	}))
}

// keyFlags are the rights of an API key.
type keyFlags struct {
	Numbers []string `name:"phone-number-id" help:"A phone number id that the key may use; *: all. Give it several times for several." placeholder:"ID"`
	Scopes  []string `name:"scope" help:"What the key may do: messages:send, messages:read, messages:cancel, account:write, events:read, console:read, admin. Give it several times for several." placeholder:"SCOPE"`
	Client  *string  `help:"Name of the client that the key belongs to." placeholder:"NAME"`
	Account *string  `name:"messaging-account-id" help:"Meta's id of the messaging account of messages that are sent with this key and name none." placeholder:"ID"`
	Expires *string  `help:"From this time on the key is refused, like 2027-01-31T00:00:00Z. Empty: never." placeholder:"TIME"`
	SHA256  *string  `name:"sha256" help:"SHA-256 of the key in hex, for a key that you made." placeholder:"HEX"`
}

func (f keyFlags) members() (map[string]any, error) {
	all := given(map[string]any{"phone_number_ids": f.Numbers, "scopes": f.Scopes, "client": f.Client, "messaging_account_id": f.Account, "sha256": f.SHA256})
	if f.Expires == nil {
		return all, nil
	}
	at, err := expiry(*f.Expires)
	all["expires"] = at
	return all, err
}

type keysAddCmd struct {
	nameArg
	keyFlags
	signature
	consoleFlags
}

// Run adds an API key.
func (k keysAddCmd) Run(ctx context.Context) error {
	return kindKey.put(ctx, k.consoleFlags, k.signature, k.Name, true, k.keyFlags)
}

type keysSetCmd struct {
	nameArg
	keyFlags
	Revoked *bool `negatable:"" help:"Refuse requests with the key as revoked. --no-revoked: accept them again."`
	signature
	consoleFlags
}

// Run changes an API key.
func (k keysSetCmd) Run(ctx context.Context) error {
	return kindKey.put(ctx, k.consoleFlags, k.signature, k.Name, false, k)
}

func (k keysSetCmd) members() (map[string]any, error) {
	all, err := k.keyFlags.members()
	if k.Revoked != nil && err == nil {
		all["revoked"] = *k.Revoked
	}
	return all, err
}

type keysRotateCmd struct {
	nameArg
	SHA256 *string `name:"sha256" help:"SHA-256 of the new key in hex. Without it Sluice makes the key and prints it once." placeholder:"HEX"`
	previousFlag
	signature
	consoleFlags
}

// Run gives an API key a new secret.
func (k keysRotateCmd) Run(ctx context.Context) error {
	return kindKey.order(ctx, k.consoleFlags, k.signature, k.Name, "rotate", map[string]any{"sha256": k.SHA256, "previous_for": k.PreviousFor}, showStored)
}

type keysRemoveCmd struct {
	nameArg
	signature
	consoleFlags
}

// Run removes an API key.
func (k keysRemoveCmd) Run(ctx context.Context) error {
	return kindKey.order(ctx, k.consoleFlags, k.signature, k.Name, "remove", map[string]any{}, showRemoved)
}

// clientsCmd has the commands about clients.
type clientsCmd struct {
	List   clientsListCmd   `cmd:"" help:"List the clients: those for whose numbers and API keys Sluice sends."`
	Add    clientsAddCmd    `cmd:"" help:"Add a client."`
	Set    clientsSetCmd    `cmd:"" help:"Change the note, the weights or the quotas of a client. What no flag names stays."`
	Remove clientsRemoveCmd `cmd:"" help:"Remove a client that has no numbers and no API keys any more."`
}

type clientsListCmd struct{ consoleFlags }

// Run lists the clients.
func (c clientsListCmd) Run(ctx context.Context) error {
	return c.ask(ctx, "GET", "/v1/clients", nil, read(func(t table, a struct{ Clients []directory.Client }) {
		t.row("CLIENT", "WEIGHT", "QUOTAS", "FROM", "NOTE")
		for _, one := range a.Clients {
			t.row(one.Name, max(one.Weight, 1), describeQuotas(one.Quotas), source(one.State), orDash(one.Note))
		}
	}))
}

type clientsAddCmd struct {
	nameArg
	Note      *string       `help:"A note for operators, up to 500 characters." placeholder:"TEXT"`
	Weight    *int          `help:"1 to 1000: clients share the slots of a number by their weights." placeholder:"N"`
	Campaigns []string      `name:"campaign-weight" help:"The weight of a campaign among those of the client, like spring=3. Give it several times for several. It replaces all that were set; an empty one removes them." placeholder:"NAME=N"`
	Suppress  []string      `help:"A class that people who opted out do not get: marketing, or marketing and utility. Give it several times for several; an empty one means marketing only." placeholder:"CLASS"`
	Quiet     quietHours    `name:"quiet-hours" sep:"none" help:"When messages of the client are not sent, by the clock of the recipient, like '21:00-08:00', or '00:00-00:00 days=sun classes=marketing,utility campaigns=spring time_zone=Europe/Berlin'. Give it several times for several. It replaces all that were set; an empty one removes them." placeholder:"FROM-TO"`
	Caps      frequencyCaps `name:"frequency-cap" sep:"none" help:"How many messages a person gets from the client, like '2 within=24h', or '5 within=168h classes=marketing,utility'. Give it several times for several. It replaces all that were set; an empty one removes them." placeholder:"N"`
	Quotas    []string      `name:"quota" help:"How many messages are accepted, like per_day=100000, or of a class marketing.per_day=20000: per_second, per_day or per_month. Give it several times for several. It replaces all that were set; an empty one removes them." placeholder:"NAME=N"`
	Budgets   []string      `name:"budget" help:"The most that messages may cost at Meta, in the currency of the prices: per_day=100.00 or per_month=2000. Give it several times for several. It replaces all that were set; an empty one removes them." placeholder:"NAME=AMOUNT"`
	signature
	consoleFlags
}

// Run adds a client.
func (c clientsAddCmd) Run(ctx context.Context) error {
	return kindClient.put(ctx, c.consoleFlags, c.signature, c.Name, true, c)
}

func (c clientsAddCmd) members() (map[string]any, error) {
	all := given(map[string]any{"note": c.Note, "weight": c.Weight, "suppress": c.Suppress})
	if c.Campaigns != nil {
		weights, err := numbersByName(c.Campaigns)
		if err != nil {
			return nil, fmt.Errorf("--campaign-weight: %w", err)
		}
		all["campaign_weights"] = weights
	}
	if err := errors.Join(c.Quiet.set(all), c.Caps.set(all), setBudgets(all, c.Budgets)); err != nil {
		return nil, err
	}
	if c.Quotas == nil {
		return all, nil
	}
	quotas, err := numbersByName(c.Quotas)
	if err != nil {
		return nil, fmt.Errorf("--quota: %w", err)
	}
	nested, classes := map[string]any{}, map[string]map[string]int{}
	for name, n := range quotas {
		if class, quota, is := strings.Cut(name, "."); is {
			if classes[class] == nil {
				classes[class] = map[string]int{}
			}
			classes[class][quota] = n
		} else {
			nested[name] = n
		}
	}
	if len(classes) > 0 {
		nested["classes"] = classes
	}
	if all["quotas"] = nested; len(nested) == 0 {
		all["quotas"] = nil
	}
	return all, nil
}

// numbersByName reads values like name=3. An empty one is left out.
func numbersByName(values []string) (map[string]int, error) {
	all := map[string]int{}
	for _, v := range values {
		if v == "" {
			continue
		}
		i := strings.LastIndexByte(v, '=')
		n, err := strconv.Atoi(v[i+1:])
		if i < 1 || err != nil {
			return nil, fmt.Errorf("%q is not like name=3", v)
		}
		all[v[:i]] = n
	}
	return all, nil
}

// describeQuotas writes quotas as the flag --quota has them.
func describeQuotas(q *config.Quotas) string {
	if q == nil {
		return "-"
	}
	var all []string
	add := func(prefix string, q config.Quota) {
		for _, one := range []struct {
			name string
			n    int
		}{{"per_second", q.PerSecond}, {"per_day", q.PerDay}, {"per_month", q.PerMonth}} {
			if one.n > 0 {
				all = append(all, fmt.Sprintf("%s%s=%d", prefix, one.name, one.n))
			}
		}
	}
	add("", q.Quota)
	for _, class := range message.Classes() {
		add(string(class)+".", q.Classes[string(class)])
	}
	return strings.Join(all, " ")
}

type clientsSetCmd clientsAddCmd

// Run changes a client.
func (c clientsSetCmd) Run(ctx context.Context) error {
	return kindClient.put(ctx, c.consoleFlags, c.signature, c.Name, false, clientsAddCmd(c))
}

type clientsRemoveCmd struct {
	nameArg
	signature
	consoleFlags
}

// Run removes a client.
func (c clientsRemoveCmd) Run(ctx context.Context) error {
	return kindClient.order(ctx, c.consoleFlags, c.signature, c.Name, "remove", map[string]any{}, showRemoved)
}
