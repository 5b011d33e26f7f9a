package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/config"
	"sluice/internal/directory"
)

// numbersCmd has the commands about numbers.
type numbersCmd struct {
	List   numbersListCmd   `cmd:"" help:"List the numbers with their settings and where they come from."`
	Add    numbersAddCmd    `cmd:"" help:"Add a number while all programs run."`
	Set    numbersSetCmd    `cmd:"" help:"Change settings of a number while all programs run. What no flag names stays. Settings of classes: use directory import."`
	Rotate numbersRotateCmd `cmd:"" help:"Replace the access token of a number. The next attempt uses the new one."`
	Remove numbersRemoveCmd `cmd:"" help:"Remove a number. With messages that are not final, --backlog says what becomes of them."`

	Register    numbersRegisterCmd    `cmd:"" help:"Register a number at Meta, unless it is registered."`
	Deregister  numbersDeregisterCmd  `cmd:"" help:"End the registration of a number at Meta: it cannot send. Meta accepts ten of these and of registrations in 72 hours."`
	RequestCode numbersRequestCodeCmd `cmd:"" help:"Let Meta send a verification code to a number."`
	VerifyCode  numbersVerifyCodeCmd  `cmd:"" help:"Verify a number by the code that it received."`
	SetPIN      numbersSetPINCmd      `cmd:"" name:"set-pin" help:"Set the PIN of the two-step verification of a number."`
}

type numbersListCmd struct{ consoleFlags }

// Run lists the numbers.
func (n numbersListCmd) Run(ctx context.Context) error {
	return n.ask(ctx, "GET", "/v1/numbers", nil, read(func(t table, a struct{ Numbers []directory.Number }) {
		t.row("PHONE NUMBER ID", "NUMBER", "CLIENT", "RATE LIMIT", "FROM", "STORED SECRETS", "LEAVING", "OTHER SETTINGS")
		for _, one := range a.Numbers {
			limit := "as Meta says"
			if one.RateLimit > 0 {
				limit = fmt.Sprint(one.RateLimit)
			}
			t.row(one.PhoneNumberID, orDash(one.Display), orDash(one.Client), limit, source(one.State), fingerprints(one.State), leaving(one), orDash(otherSettings(one)))
		}
	}))
}

// otherSettings returns the settings of a number that have no column and differ from their defaults, as the configuration file names them.
func otherSettings(n directory.Number) string {
	var all []string
	add := func(name, value, normal string) {
		if value != "" && value != normal {
			all = append(all, name+"="+value)
		}
	}
	add("shared_with", strings.Join(n.SharedWith, ","), "")
	add("suppress", strings.Join(n.Suppress, ","), "")
	add("quiet_hours", describeQuietHours(n.Quiet), "")
	if n.AutoReply != nil {
		add("auto_reply", "yes", "")
	}
	add("unknown_types", n.UnknownTypes, "pass")
	add("other_app_conversations", n.OtherApp, "refuse")
	add("customer_service_window", n.Window, config.WindowOff)
	add("messaging_account_id", n.Account, "")
	add("marketing_messages", n.Marketing, config.MarketingOff)
	if n.Sharing != nil {
		add("message_activity_sharing", strconv.FormatBool(*n.Sharing), "")
	}
	add("graph_version", n.GraphVersion, "")
	if c := n.GraphCanary; c != nil {
		add("graph_version_canary", fmt.Sprintf("%s=%d", c.Version, c.Share), "")
	}
	add("token_file", n.TokenFile, "")
	for _, name := range slices.Sorted(maps.Keys(n.Classes)) {
		c := n.Classes[name]
		of := "classes." + name + "."
		add(of+"deadline", c.Deadline, "")
		add(of+"in_doubt_window", c.InDoubtWindow, "")
		add(of+"in_doubt_policy", c.InDoubtPolicy, "")
		add(of+"server_error_window", c.ServerErrorWindow, "")
		add(of+"webhook_retry_window", c.WebhookRetryWindow, "")
		add(of+"portfolio_limit", c.PortfolioLimit, "refuse")
	}
	for _, t := range n.TemplateClasses {
		add("template_classes."+t.Name, t.Class, "")
	}
	return strings.Join(all, " ")
}

// leaving says what becomes of the messages of a number that is being removed, and how many are left.
func leaving(n directory.Number) string {
	text := orDash(n.Leaving)
	if n.LeavingTo != "" {
		text += " to " + n.LeavingTo
	}
	if n.Left > 0 {
		text += fmt.Sprintf(", %d left", n.Left)
	}
	return text
}

// numberFlags are the settings of a number.
type numberFlags struct {
	Display         *string    `name:"display-number" help:"The phone number itself, like +15551234567." placeholder:"NUMBER"`
	RateLimit       *int       `help:"Messages per second, 1 to 10000. 0: as Meta says." placeholder:"N"`
	UnknownTypes    *string    `help:"pass or refuse: messages of a type that this version of Sluice does not know." placeholder:"POLICY"`
	OtherApp        *string    `name:"other-app-conversations" help:"refuse, wait or send: service messages in conversations that another app owns." placeholder:"POLICY"`
	Window          *string    `name:"customer-service-window" help:"off or refuse: free-form messages to people whose customer service window is closed." placeholder:"POLICY"`
	Account         *string    `name:"messaging-account-id" help:"Meta's id of the messaging account of messages that name none." placeholder:"ID"`
	Marketing       *string    `name:"marketing-messages" help:"off, fallback or strict: whether messages of marketing templates go to Meta's Marketing Messages API." placeholder:"POLICY"`
	Sharing         *string    `name:"message-activity-sharing" help:"true or false: message_activity_sharing of these messages. Empty: Meta's default." placeholder:"CHOICE"`
	GraphVersion    *string    `help:"Version of the Graph API with which the number sends, like v25.0. Empty: that of the configuration." placeholder:"VERSION"`
	GraphCanary     *string    `name:"graph-version-canary" help:"Another version for a share of the messages, in percent, like v27.0=5. Empty: none." placeholder:"VERSION=N"`
	Client          *string    `help:"Name of the client that the number belongs to." placeholder:"NAME"`
	Suppress        []string   `help:"A class that people who opted out do not get from the number: marketing, or marketing and utility. Give it several times for several; an empty one means those of the client." placeholder:"CLASS"`
	Quiet           quietHours `name:"quiet-hours" sep:"none" help:"When messages of the number are not sent, by the clock of the recipient, like '21:00-08:00', or '00:00-00:00 days=sun classes=marketing,utility campaigns=spring time_zone=Europe/Berlin'. Give it several times for several. It replaces all that were set; an empty one removes them." placeholder:"FROM-TO"`
	SharedWith      []string   `help:"Name of another client that may send from the number. Give it several times for several. It replaces those that were set; an empty one removes them." placeholder:"NAME"`
	AutoReply       *string    `help:"File with the automatic replies of the number: YAML or JSON in the form of auto_reply in the configuration file. Empty: none." placeholder:"PATH"`
	HookSecretFile  secretArg  `name:"auto-reply-hook-secret-file" help:"File with the secret that signs the requests to the auto-reply hook, or - for standard input. Sluice stores it encrypted." placeholder:"FILE"`
	AccessTokenFile secretArg  `help:"File with the access token, or - for standard input. Sluice stores the token encrypted." placeholder:"FILE"`
	TokenFile       *string    `help:"Path of a file with the access token that each worker reads. Use it in place of --access-token-file." placeholder:"PATH"`
}

func (f numberFlags) members() (map[string]any, error) {
	token, err := f.AccessTokenFile.read()
	if err != nil {
		return nil, err
	}
	hookSecret, err := f.HookSecretFile.read()
	if err != nil {
		return nil, err
	}
	all := given(map[string]any{
		"display_number": f.Display, "rate_limit": f.RateLimit, "unknown_types": f.UnknownTypes, "client": f.Client, "shared_with": f.SharedWith, "suppress": f.Suppress, "token_file": f.TokenFile, "access_token": secretOf(token), "auto_reply_hook_secret": secretOf(hookSecret),
		"other_app_conversations": f.OtherApp, "customer_service_window": f.Window, "messaging_account_id": f.Account, "marketing_messages": f.Marketing, "graph_version": f.GraphVersion,
	})
	if err := f.Quiet.set(all); err != nil {
		return nil, err
	}
	if err := setAutoReply(all, f.AutoReply); err != nil {
		return nil, err
	}
	if f.Sharing != nil {
		if all["message_activity_sharing"], err = optional(*f.Sharing); err != nil {
			return nil, fmt.Errorf("--message-activity-sharing: %w", err)
		}
	}
	if f.GraphCanary != nil {
		all["graph_version_canary"] = nil
		canary, err := numbersByName([]string{*f.GraphCanary})
		if err != nil {
			return nil, fmt.Errorf("--graph-version-canary: %w", err)
		}
		for version, share := range canary {
			all["graph_version_canary"] = directory.GraphCanary{Version: version, Share: share}
		}
	}
	return all, nil
}

// setAutoReply adds the automatic replies in a file, if the flag was given.
func setAutoReply(members map[string]any, path *string) error {
	if path == nil {
		return nil
	}
	if members["auto_reply"] = nil; *path == "" {
		return nil
	}
	text, err := os.ReadFile(*path)
	if err != nil {
		return fmt.Errorf("--auto-reply: %w", err)
	}
	one, err := config.ParseAutoReply(*path, text)
	if err != nil {
		return fmt.Errorf("--auto-reply: %w", err)
	}
	members["auto_reply"] = one
	return nil
}

// optional reads true, false, or nothing.
func optional(text string) (any, error) {
	if text == "" {
		return nil, nil
	}
	is, err := strconv.ParseBool(text)
	if err != nil {
		return nil, fmt.Errorf("%q is neither true nor false", text)
	}
	return is, nil
}

// numberArg is the argument of commands about one number.
type numberArg struct {
	ID string `arg:"" name:"phone-number-id" help:"Meta's phone number id."`
}

type numbersAddCmd struct {
	numberArg
	numberFlags
	signature
	consoleFlags
}

// Run adds a number.
func (n numbersAddCmd) Run(ctx context.Context) error {
	return kindNumber.put(ctx, n.consoleFlags, n.signature, n.ID, true, n.numberFlags)
}

type numbersSetCmd numbersAddCmd

// Run changes a number.
func (n numbersSetCmd) Run(ctx context.Context) error {
	return kindNumber.put(ctx, n.consoleFlags, n.signature, n.ID, false, n.numberFlags)
}

type numbersRotateCmd struct {
	numberArg
	AccessTokenFile secretArg `required:"" help:"File with the new access token, or - for standard input." placeholder:"FILE"`
	signature
	consoleFlags
}

// Run replaces the access token.
func (n numbersRotateCmd) Run(ctx context.Context) error {
	token, err := n.AccessTokenFile.read()
	if err != nil {
		return err
	}
	return kindNumber.order(ctx, n.consoleFlags, n.signature, n.ID, "rotate", map[string]any{"access_token": token}, showStored)
}

type numbersRemoveCmd struct {
	numberArg
	Backlog *string `help:"refuse, the default: do not remove the number. drain: send the messages, then remove it. move: let the number of --to send the messages, then remove it. cancel: cancel the messages, then remove it." placeholder:"CHOICE"`
	To      *string `help:"With --backlog move: phone number id of another number of the same WhatsApp Business Account and client." placeholder:"ID"`
	signature
	consoleFlags
}

// Run removes a number.
func (n numbersRemoveCmd) Run(ctx context.Context) error {
	return kindNumber.order(ctx, n.consoleFlags, n.signature, n.ID, "remove", given(map[string]any{"backlog": n.Backlog, "to": n.To}), showRemoved)
}
