package config

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"sluice/internal/redisurl"
)

// LoadProducer reads the producer's configuration from its arguments (without the program's
// name), the environment (see Env) and the file that they name. If the arguments ask for help, it returns Help.
func LoadProducer(args []string, getenv func(string) string) (Producer, error) {
	l := load("producer", args, getenv)
	l.need(len(l.keys) > 0, "api_keys", "none is configured, so no caller could send: list them in the file, or set SLUICE_API_KEY")
	l.checkWindows()
	l.openHooks()
	return Producer{
		Common: l.common(), Listen: l.listenAPI, Console: l.listenConsole, APIKeys: l.keys, Tokens: l.tokensThere(), PayloadKey: l.optionalKey("payload_key_file", l.payloadKeyFile), SecretsKey: l.secretsKey(), SecondSecrets: l.secondSecrets(),
		RecipientIndex: l.recipientIndex, Outbox: l.openOutbox(), Canaries: l.openCanaries(), Archive: l.openArchive(), Hooks: l.relay,
	}, l.err()
}

// LoadCanaries reads the canaries of the producer, for a tool.
func LoadCanaries(args []string, getenv func(string) string) ([]Canary, error) {
	l := load("tool", args, getenv)
	return l.openCanaries(), l.err()
}

// LoadArchive reads the archive and the name of the file with what Meta charges, for a tool.
func LoadArchive(args []string, getenv func(string) string) (a Archive, pricesFile string, err error) {
	l := load("tool", args, getenv)
	a = l.openArchive()
	l.need(a.URL != "", "archive.database_url_file", "is missing: set it, or SLUICE_ARCHIVE_DATABASE_URL, to the database of the archive")
	return a, l.PricesFile, l.err()
}

// LoadWorker reads the worker's configuration, like LoadProducer, and the tokens and keys in
// the files that it names.
func LoadWorker(args []string, getenv func(string) string) (Worker, error) {
	l := load("worker", args, getenv)
	l.need(l.retry.Max >= l.retry.Base, "retry.max", "is shorter than retry.base: raise it")
	l.checkWindows()
	archive := l.openArchive()
	l.need(archive.URL != "" || slices.ContainsFunc(l.roles, func(r string) bool { return r != RoleArchive }), "roles", "is only archive, and there is no archive: set archive.database_url_file, or give the worker another role")
	return Worker{
		Common: l.common(), Roles: l.roles, MarkerKey: l.markerKey(), Tokens: l.tokens(), Retry: l.retry, Events: l.events, Relay: l.relay, Archive: archive,
		KeyLife: l.keyLife, TemplateSync: l.templateSync, UnmatchedStatuses: UnmatchedStatuses{l.unmatchedLife, l.unmatchedMost},
		SecretsKey: l.secretsKey(), SecondSecrets: l.secondSecrets(), RecipientIndex: l.recipientIndex,
		SecondMarkerKey:  l.optionalKey("second_marker_key_file", l.secondMarkerKeyFile),
		PayloadKey:       l.optionalKey("payload_key_file", l.payloadKeyFile),
		SecondPayloadKey: l.optionalKey("second_payload_key_file", l.secondPayloadKeyFile),
	}, l.err()
}

// LoadWebhook reads the webhook's configuration, like LoadProducer, and the secrets in the
// files that it names.
func LoadWebhook(args []string, getenv func(string) string) (Webhook, error) {
	l := load("webhook", args, getenv)
	return Webhook{Common: l.common(), Listen: l.listenWebhook, Apps: l.openApps(), SecretsKey: l.secretsKey(), SecondSecrets: l.secondSecrets()}, l.err()
}

// LoadTool reads what a tool needs to use the Redis of the programs.
func LoadTool(args []string, getenv func(string) string) (Common, error) {
	l := load("tool", args, getenv)
	return l.common(), l.err()
}

// All is the configuration of a whole installation.
type All struct {
	Producer Producer
	Worker   Worker
	Webhook  Webhook
}

// LoadAll reads the configuration of all programs from the file and the environment. It returns each
// mistake once.
func LoadAll(args []string, getenv func(string) string) (All, []error) {
	var a All
	var found [3]error
	a.Producer, found[0] = LoadProducer(args, getenv)
	a.Worker, found[1] = LoadWorker(args, getenv)
	a.Webhook, found[2] = LoadWebhook(args, getenv)
	var all []error
	for _, err := range found {
		several, _ := err.(interface{ Unwrap() []error }) // errors.Join's
		if several == nil {
			continue
		}
		for _, one := range several.Unwrap() {
			if !slices.ContainsFunc(all, func(err error) bool { return err.Error() == one.Error() }) {
				all = append(all, one)
			}
		}
	}
	return a, all
}

// Help is the error of a Load function whose arguments ask for help. Its text is the help.
type Help string

// Error returns the text.
func (h Help) Error() string { return string(h) }

// Is makes Help a flag.ErrHelp.
func (h Help) Is(target error) bool { return target == flag.ErrHelp }

// loader collects settings and mistakes from all sources.
type loader struct {
	program string
	getenv  func(string) string
	errs    []error
	values
}

// values is everything that can be set.
type values struct {
	Common
	redisPasswordFile                       string
	listenAPI, listenConsole, listenWebhook string
	roles                                   []string
	markerKeyFile, secondMarkerKeyFile      string
	payloadKeyFile, secondPayloadKeyFile    string
	secretsKeyFile, secondSecretsKeyFile    string
	recipientIndex                          bool
	relay                                   Relay
	retry                                   Retry
	keyLife, unmatchedLife, templateSync    time.Duration
	unmatchedMost                           int
	events                                  Events
	outbox                                  Outbox
	outboxURLFile                           string
	archive                                 Archive
	archiveURLFile                          string
	canaries                                []canary
	numbers                                 []number
	apps                                    []app
	keys                                    []APIKey
}

// number is a Number with its token.
type number struct {
	Number
	token      Secret // from the environment; wins over the file
	hookSecret string // file with the secret of the auto-reply hook; empty: none
}

// app is an App with the sources of its secrets.
type app struct {
	App
	secretFile, previousSecretFile, verifyTokenFile string
}

// canary is a Canary with the source of its recipient.
type canary struct {
	Canary
	toFile string
}

// load reads all sources, the one with the lowest priority first.
func load(program string, args []string, getenv func(string) string) *loader {
	l := &loader{program: program, getenv: getenv}
	settings := l.settings(program)
	for _, s := range settings {
		if err := s.set(s.def); err != nil {
			panic(fmt.Sprintf("config: default of %s: %v", s.key, err)) // a mistake in the table
		}
	}
	given := l.flags(settings, args)
	l.file(cmp.Or(given["config"], getenv("SLUICE_CONFIG")), settings)
	for _, s := range settings {
		if v := getenv(s.env()); v != "" && s.of(program) {
			l.fail(s.env()+" (environment)", s.set(v))
		}
		if v, ok := given[s.flag()]; ok {
			l.fail("--"+s.flag(), s.set(v))
		}
	}
	l.guides()
	return l
}

// flags returns the flags that were given, by name.
func (l *loader) flags(settings []setting, args []string) map[string]string {
	given := map[string]string{}
	fs := flag.NewFlagSet(l.program, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	keep := func(name string) {
		fs.Func(name, "", func(v string) error { given[name] = v; return nil })
	}
	keep("config")
	for _, s := range settings {
		if s.of(l.program) {
			keep(s.flag())
		}
	}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		l.errs = append(l.errs, Help(usage(l.program, settings)))
	case err != nil:
		l.fail("flags", fmt.Errorf("%w; -h lists them", err))
	case fs.NArg() > 0:
		l.fail("flags", fmt.Errorf("unexpected argument %q; -h lists the flags", fs.Arg(0)))
	}
	return given
}

// Mistake is something in the configuration that is wrong.
type Mistake struct {
	Place string // the setting, or the file with line and member
	Err   error
}

// Error returns the place and the mistake.
func (m Mistake) Error() string {
	if m.Place == "" {
		return m.Err.Error()
	}
	return m.Place + ": " + m.Err.Error()
}

// Unwrap returns Err.
func (m Mistake) Unwrap() error { return m.Err }

// fail adds a mistake and its place, unless err is nil.
func (l *loader) fail(place string, err error) {
	if err != nil {
		l.errs = append(l.errs, Mistake{place, err})
	}
}

// need adds a mistake unless ok.
func (l *loader) need(ok bool, place, mistake string) {
	if !ok {
		l.fail(place, errors.New(mistake))
	}
}

// err returns all mistakes together, or the help if the arguments ask for it.
func (l *loader) err() error {
	for _, err := range l.errs {
		if h, ok := errors.AsType[Help](err); ok {
			return h
		}
	}
	return errors.Join(l.errs...)
}

// common returns the part for every program, with the password of Redis in its URL.
func (l *loader) common() Common {
	for _, n := range l.numbers {
		l.Numbers = append(l.Numbers, n.Number)
	}
	l.Redis.PasswordFile = l.redisPasswordFile
	if password := l.secret("redis.password_file", l.redisPasswordFile); password != "" {
		l.Redis.URL = Secret(redisurl.WithPassword(string(l.Redis.URL), string(password)))
	}
	if l.program != "tool" {
		l.Tracing = l.tracing()
	}
	return l.Common
}

func (l *loader) markerKey() Secret {
	const fix = "make one with `openssl rand -hex 32` and give it by SLUICE_MARKER_KEY or marker_key_file"
	key := Secret(l.getenv("SLUICE_MARKER_KEY"))
	if key == "" && l.markerKeyFile != "" {
		if key = l.secret("marker_key_file", l.markerKeyFile); key == "" {
			return "" // the mistake is added already
		}
	}
	l.need(key != "", "marker key", "is missing: "+fix)
	l.need(key == "" || len(key) >= 16, "marker key", "is shorter than 16 bytes: "+fix)
	return key
}

// secretsKey returns the key that encrypts secrets in Redis; empty: there is none.
func (l *loader) secretsKey() Secret {
	if key := Secret(l.getenv("SLUICE_SECRETS_KEY")); key != "" {
		l.need(len(key) >= 16, "SLUICE_SECRETS_KEY (environment)", "is shorter than 16 bytes: make one with `openssl rand -hex 32`")
		return key
	}
	return l.optionalKey("secrets_key_file", l.secretsKeyFile)
}

// secondSecrets returns the key that decrypts secrets too while the secrets key changes; empty: there is none.
func (l *loader) secondSecrets() Secret {
	return l.optionalKey("second_secrets_key_file", l.secondSecretsKeyFile)
}

// openOutbox returns the outbox, and checks its API key. Without a URL it is empty.
func (l *loader) openOutbox() Outbox {
	o := l.outbox
	if o.URL = Secret(l.getenv("SLUICE_OUTBOX_DATABASE_URL")); o.URL == "" {
		if o.URL = l.secret("outbox.database_url_file", l.outboxURLFile); o.URL == "" {
			return Outbox{}
		}
	}
	i := slices.IndexFunc(l.keys, func(k APIKey) bool { return k.Name == o.APIKey })
	switch {
	case o.APIKey == "":
		l.fail("outbox.api_key", errors.New("is missing: set it to the name of an API key with the scope messages:send"))
	case i < 0:
		l.fail("outbox.api_key", fmt.Errorf("no API key has the name %s: add it under api_keys, or set another name", o.APIKey))
	default:
		l.need(!l.keys[i].Revoked && slices.Contains(l.keys[i].Scopes, ScopeSend), "outbox.api_key", "the API key "+o.APIKey+" is revoked or does not have the scope messages:send: add the scope, or set another name")
	}
	return o
}

// openArchive returns the archive. Without a URL it is empty.
func (l *loader) openArchive() Archive {
	a := l.archive
	if a.URL = Secret(l.getenv("SLUICE_ARCHIVE_DATABASE_URL")); a.URL == "" {
		if a.URL = l.secret("archive.database_url_file", l.archiveURLFile); a.URL == "" {
			return Archive{}
		}
	}
	a.Key = l.secretsKey()
	l.need(a.Key != "", "archive", "needs a secrets key, which hashes recipients: set secrets_key_file or SLUICE_SECRETS_KEY, with the same key for producers and workers")
	return a
}

// openCanaries returns the canaries with their recipients.
func (l *loader) openCanaries() []Canary {
	var all []Canary
	for _, c := range l.canaries {
		place := "canary of number " + c.Number
		if to := l.secret("to_file of the "+place, c.toFile); to != "" {
			l.fail("to_file of the "+place, phoneNumber((*string)(&c.To))(string(to)))
		}
		all = append(all, c.Canary)
	}
	return all
}

// optionalKey reads a key that may be absent.
func (l *loader) optionalKey(place, path string) Secret {
	key := l.secret(place, path)
	l.need(key == "" || len(key) >= 16, place, "has a key that is shorter than 16 bytes: make one with `openssl rand -hex 32`")
	return key
}

// tokensThere returns the tokens that a producer can read. It needs none to accept messages. Without the token of a
// number it forwards no calls for this number to Meta.
func (l *loader) tokensThere() *Tokens {
	t := &Tokens{all: map[string]*token{}}
	for _, n := range l.numbers {
		if n.token != "" {
			t.all[n.ID] = &token{value: string(n.token)}
		} else if token, err := openToken(n.TokenFile); n.TokenFile != "" && err == nil {
			t.all[n.ID] = token
		}
	}
	return t
}

func (l *loader) tokens() *Tokens {
	t := &Tokens{all: map[string]*token{}}
	for _, n := range l.numbers {
		switch {
		case n.token != "":
			t.all[n.ID] = &token{value: string(n.token)}
		case n.TokenFile != "":
			token, err := openToken(n.TokenFile)
			l.fail("token_file of number "+n.ID, err)
			t.all[n.ID] = token
		default:
			l.fail("number "+n.ID, errors.New("has no token: give it a token_file, or set PHONE_NUMBER_ID and ACCESS_TOKEN"))
		}
	}
	return t
}

func (l *loader) openApps() []App {
	var apps []App
	for _, a := range l.apps {
		place := "of app " + a.Name
		a.Secret = cmp.Or(a.Secret, l.secret("secret_file "+place, a.secretFile))
		a.VerifyToken = cmp.Or(a.VerifyToken, l.secret("verify_token_file "+place, a.verifyTokenFile))
		a.PreviousSecret = l.secret("previous_secret_file "+place, a.previousSecretFile)
		l.need(a.Secret != "" || a.secretFile != "", "app "+a.Name, "has no secret: give it a secret_file, or set APP_SECRET")
		l.need(a.VerifyToken != "" || a.verifyTokenFile != "", "app "+a.Name, "has no verify token: give it a verify_token_file, or set VERIFY_TOKEN")
		if a.VerifyToken != "" {
			l.fail("verify token "+place, CheckVerifyToken(a.VerifyToken))
		}
		l.need(a.PreviousExpires.IsZero() || a.previousSecretFile != "", "app "+a.Name, "has a previous_secret_expires and no previous_secret_file: give it both, or neither")
		apps = append(apps, a.App)
	}
	return apps
}

// secret reads the secret in a file. An empty path means that there is none.
func (l *loader) secret(place, path string) Secret {
	if path == "" {
		return ""
	}
	s, err := readSecret(path)
	l.fail(place, err)
	return Secret(s)
}

// byteOrderMark is an invisible character that some editors write before a text.
const byteOrderMark = "\ufeff"

// secretVariables are the environment variables that hold secrets.
var secretVariables = []string{"ACCESS_TOKEN", "APP_SECRET", "VERIFY_TOKEN", "SLUICE_API_KEY", "SLUICE_MARKER_KEY", "SLUICE_SECRETS_KEY", "SLUICE_OUTBOX_DATABASE_URL", "SLUICE_ARCHIVE_DATABASE_URL"}

// checkSecrets finds secrets in the environment that cannot be right. It quotes none.
func (l *loader) checkSecrets() {
	for _, name := range secretVariables {
		v := l.getenv(name)
		place := name + " (environment)"
		l.need(v == "" || strings.TrimSpace(v) != "", place, "has only blanks: set the secret, or remove the variable")
		l.need(strings.TrimSpace(v) == "" || strings.TrimSpace(v) == v && !strings.ContainsAny(v, " \t\r\n"), place, "has a blank or a line break in it: set it to the secret without them")
		l.need(!strings.Contains(v, byteOrderMark), place, "has a byte order mark: set it to the secret without it")
	}
}

// postWithin is the longest time that a request to Meta may wait for its answer, with a reserve.
const postWithin = 30 * time.Second

// checkWindows finds classes that would resend a message while the first request may still be running.
func (l *loader) checkWindows() {
	if l.getenv(shortWindows) != "" {
		return
	}
	check := func(place string, c Class, class string) {
		resends := c.InDoubtPolicy == "resend" || c.InDoubtPolicy == "" && class == "authentication"
		l.need(!resends || c.InDoubtWindow == 0 || c.InDoubtWindow >= postWithin, place,
			fmt.Sprintf("is %s and in_doubt_policy is resend: the first request may still be running then. Set in_doubt_window to %s or more, or in_doubt_policy to park", c.InDoubtWindow, postWithin))
	}
	for _, class := range classNames {
		check("classes."+class+".in_doubt_window", l.Classes[class], class)
		for _, n := range l.numbers {
			if own, ok := n.Classes[class]; ok {
				check("in_doubt_window of class "+class+" of number "+n.ID, own.Over(l.Classes[class]), class)
			}
		}
	}
}

// shortWindows is an environment variable of tests. Their simulator answers at once, and a window of 30 s would
// take too long.
const shortWindows = "SLUICE_TEST_SHORT_WINDOWS"

// readSecret returns the content of a file without the white space around it. No error quotes the content.
func readSecret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	s := strings.TrimSpace(string(b))
	if err := CheckSecret(Secret(s)); err != nil {
		return "", fmt.Errorf("%s %w", path, err)
	}
	return s, nil
}

// CheckSecret finds a secret that cannot be right: one that is empty, or has a byte order mark or white space in it. The error
// does not quote it.
func CheckSecret(s Secret) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case strings.Contains(string(s), byteOrderMark):
		return errors.New("has a byte order mark: save it as plain UTF-8 without one")
	case strings.ContainsFunc(string(s), func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return errors.New("has more than one word: write only the secret to it")
	}
	return nil
}

// CheckVerifyToken finds a verify token that is too short.
func CheckVerifyToken(s Secret) error {
	if len(s) < 16 {
		return errors.New("is shorter than 16 characters: make one with `openssl rand -hex 32`, and enter it at Meta too")
	}
	return nil
}
