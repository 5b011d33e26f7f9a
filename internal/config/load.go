package config

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// LoadProducer reads the producer's configuration from its arguments (without the program's
// name), the environment (see Env) and the file they name. Asked for help it returns Help.
func LoadProducer(args []string, getenv func(string) string) (Producer, error) {
	l := load("producer", args, getenv)
	l.need(len(l.numbers) > 0, "numbers", "none is configured: list them in the file, or set PHONE_NUMBER_ID")
	l.need(len(l.keys) > 0, "api_keys", "none is configured, so nobody could send: list them in the file, or set SLUICE_API_KEY")
	l.checkKeys()
	l.checkWindows()
	return Producer{Common: l.common(), Listen: l.listenAPI, Console: l.listenConsole, APIKeys: l.keys, Tokens: l.tokensThere(), PayloadKey: l.optionalKey("payload_key_file", l.payloadKeyFile)}, l.err()
}

// LoadWorker reads the worker's configuration, like LoadProducer, and the tokens and keys in
// the files that it names.
func LoadWorker(args []string, getenv func(string) string) (Worker, error) {
	l := load("worker", args, getenv)
	l.need(len(l.numbers) > 0, "numbers", "none is configured: list them in the file, or set PHONE_NUMBER_ID and ACCESS_TOKEN")
	l.need(l.retry.Max >= l.retry.Base, "retry.max", "is shorter than retry.base: raise it")
	l.checkWindows()
	return Worker{
		Common: l.common(), Roles: l.roles, MarkerKey: l.markerKey(), Tokens: l.tokens(), Retry: l.retry, Events: l.events,
		KeyLife: l.keyLife, Orphans: Orphans{l.orphanLife, l.orphanMost},
		SecondMarkerKey:  l.optionalKey("second_marker_key_file", l.secondMarkerKeyFile),
		PayloadKey:       l.optionalKey("payload_key_file", l.payloadKeyFile),
		SecondPayloadKey: l.optionalKey("second_payload_key_file", l.secondPayloadKeyFile),
	}, l.err()
}

// LoadWebhook reads the webhook's configuration, like LoadProducer, and the secrets in the
// files that it names.
func LoadWebhook(args []string, getenv func(string) string) (Webhook, error) {
	l := load("webhook", args, getenv)
	l.need(len(l.apps) > 0, "apps", "none is configured: list them in the file, or set APP_SECRET and VERIFY_TOKEN")
	return Webhook{Common: l.common(), Listen: l.listenWebhook, Apps: l.openApps()}, l.err()
}

// LoadTool reads what a tool beside the programs needs to reach the same Redis.
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

// LoadAll reads the configuration of all programs from what they share: the file, and the
// environment. It returns each mistake once.
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

// Help is what a Load function returns as its error when the arguments ask for help: the
// text to print.
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
	retry                                   Retry
	keyLife, orphanLife                     time.Duration
	orphanMost                              int
	events                                  Events
	numbers                                 []number
	apps                                    []app
	keys                                    []APIKey
}

// number is a Number with the way to its token.
type number struct {
	Number
	tokenFile string
	token     Secret // from the environment; wins over the file
}

// app is an App with the ways to its secrets.
type app struct {
	App
	secretFile, previousSecretFile, verifyTokenFile string
}

// load reads all sources, the weakest first.
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

// fail notes a mistake, if err is one, and where it is.
func (l *loader) fail(place string, err error) {
	if err != nil {
		l.errs = append(l.errs, fmt.Errorf("%s: %w", place, err))
	}
}

// need notes a mistake unless ok.
func (l *loader) need(ok bool, place, mistake string) {
	if !ok {
		l.fail(place, errors.New(mistake))
	}
}

// err returns all mistakes together, or the help that was asked for.
func (l *loader) err() error {
	for _, err := range l.errs {
		if h, ok := errors.AsType[Help](err); ok {
			return h
		}
	}
	return errors.Join(l.errs...)
}

// common returns the part for every program, with Redis's password put into its URL.
func (l *loader) common() Common {
	for _, n := range l.numbers {
		l.Numbers = append(l.Numbers, n.Number)
	}
	l.Redis.PasswordFile = l.redisPasswordFile
	if password := l.secret("redis.password_file", l.redisPasswordFile); password != "" {
		scheme, user, hosts, rest := splitRedisURL(string(l.Redis.URL))
		name, _, _ := strings.Cut(strings.TrimSuffix(user, "@"), ":")
		l.Redis.URL = Secret(scheme + "://" + name + url.UserPassword("", string(password)).String() + "@" + hosts + rest)
	}
	return l.Common
}

func (l *loader) markerKey() Secret {
	const fix = "make one with `openssl rand -hex 32` and give it by SLUICE_MARKER_KEY or marker_key_file"
	key := Secret(l.getenv("SLUICE_MARKER_KEY"))
	if key == "" && l.markerKeyFile != "" {
		if key = l.secret("marker_key_file", l.markerKeyFile); key == "" {
			return "" // said already
		}
	}
	l.need(key != "", "marker key", "is missing: "+fix)
	l.need(key == "" || len(key) >= 16, "marker key", "is shorter than 16 bytes: "+fix)
	return key
}

// optionalKey reads a key that need not be there.
func (l *loader) optionalKey(place, path string) Secret {
	key := l.secret(place, path)
	l.need(key == "" || len(key) >= 16, place, "holds a key shorter than 16 bytes: make one with `openssl rand -hex 32`")
	return key
}

// tokensThere are those that a producer can read. It needs none for what it is for: a number
// without has no calls passed on to Meta.
func (l *loader) tokensThere() *Tokens {
	t := &Tokens{all: map[string]*token{}}
	for _, n := range l.numbers {
		if n.token != "" {
			t.all[n.ID] = &token{value: string(n.token)}
		} else if token, err := openToken(n.tokenFile); n.tokenFile != "" && err == nil {
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
		case n.tokenFile != "":
			token, err := openToken(n.tokenFile)
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
		l.need(a.VerifyToken == "" || len(a.VerifyToken) >= 16, "verify token "+place, "is shorter than 16 characters: make one with `openssl rand -hex 32`, and enter it at Meta too")
		l.need(a.PreviousExpires.IsZero() || a.previousSecretFile != "", "app "+a.Name, "has a previous_secret_expires and no previous_secret_file: give it both, or neither")
		apps = append(apps, a.App)
	}
	return apps
}

// secret reads the secret in a file; without a path there is none.
func (l *loader) secret(place, path string) Secret {
	if path == "" {
		return ""
	}
	s, err := readSecret(path)
	l.fail(place, err)
	return Secret(s)
}

// checkKeys finds API keys for numbers that are not ours.
func (l *loader) checkKeys() {
	for _, k := range l.keys {
		for _, id := range k.Numbers {
			known := slices.ContainsFunc(l.numbers, func(n number) bool { return n.ID == id })
			l.need(id == "*" || known, "phone_number_ids of API key "+k.Name, "one of them is not configured: add it under numbers, or remove it here")
		}
	}
}

// byteOrderMark is what some editors write in front of a text. Nobody sees it.
const byteOrderMark = "\ufeff"

// secretVariables are the environment variables that hold secrets.
var secretVariables = []string{"ACCESS_TOKEN", "APP_SECRET", "VERIFY_TOKEN", "SLUICE_API_KEY", "SLUICE_MARKER_KEY"}

// checkSecrets finds secrets in the environment that cannot be meant so. It quotes none.
func (l *loader) checkSecrets() {
	for _, name := range secretVariables {
		v := l.getenv(name)
		place := name + " (environment)"
		l.need(v == "" || strings.TrimSpace(v) != "", place, "holds only blanks: give the secret, or leave it out")
		l.need(strings.TrimSpace(v) == "" || strings.TrimSpace(v) == v && !strings.ContainsAny(v, " \t\r\n"), place, "has a blank or a line break in it: give the secret alone")
		l.need(!strings.Contains(v, byteOrderMark), place, "has a byte order mark: give the secret alone")
	}
}

// postWithin is how long a message that is sent to Meta may be without an answer, with a reserve.
const postWithin = 30 * time.Second

// checkWindows finds classes that would send a message again while the request before it may be under way.
func (l *loader) checkWindows() {
	if l.getenv(shortWindows) != "" {
		return
	}
	check := func(place string, c Class, class string) {
		resends := c.OnDoubt == "resend" || c.OnDoubt == "" && class == "authentication"
		l.need(!resends || c.DoubtWindow == 0 || c.DoubtWindow >= postWithin, place,
			fmt.Sprintf("is %s and in_doubt_policy is resend: the request before may still be under way. Set in_doubt_window to %s or more, or in_doubt_policy to park", c.DoubtWindow, postWithin))
	}
	for _, class := range classNames {
		check("classes."+class+".in_doubt_window", l.Classes[class], class)
		for _, n := range l.numbers {
			if own, ok := n.Classes[class]; ok {
				check("in_doubt_window of class "+class+" of number "+n.ID, own.over(l.Classes[class]), class)
			}
		}
	}
}

// shortWindows is an environment variable of tests: its programs meet a simulator that answers at once, and
// have no time for a window of 30 s.
const shortWindows = "SLUICE_TEST_SHORT_WINDOWS"

// readSecret returns what stands in a file, without the white space round it. The file's
// content is in no error.
func readSecret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	s := strings.TrimSpace(string(b))
	switch {
	case s == "":
		return "", fmt.Errorf("%s is empty", path)
	case strings.Contains(s, byteOrderMark):
		return "", fmt.Errorf("%s has a byte order mark: save it as plain UTF-8 without one", path)
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return "", fmt.Errorf("%s holds more than one word: it must hold the secret alone", path)
	}
	return s, nil
}
