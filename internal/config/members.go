package config

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// member is a key of a mapping. docs/configuration.md shows def and doc.
type member struct {
	key  string
	must bool   // it is required
	def  string // its default; empty: "none"
	doc  string
	read func(path string, n *yaml.Node)
}

// The functions below return the members of the entries of the lists, and of a class.

func (d *document) ofNumber(one *number) []member {
	return []member{
		{
			key: "phone_number_id", must: true, read: d.scalar(numberID(&one.ID)),
			doc: "Meta's id of the phone number, digits only. It is not the phone number itself.",
		},
		{
			key: "display_number", read: d.scalar(phoneNumber(&one.Display)),
			doc: "The phone number itself, like `\"+15551234567\"`. With it, Sluice refuses messages from the number to itself at once. Meta would refuse them later.",
		},
		{
			key: "token_file", def: "required by the worker", read: d.scalar(d.resolved(text(&one.TokenFile))),
			doc: "File with the access token. The worker reads the file again every few seconds and uses a new token without a restart. If the file is empty or cannot be read, the previous token stays in use and the worker logs an error. A producer that can read the file forwards some requests to Meta for its callers, for example uploads of media, and reads the [category of templates](message-life.md#default-class). Without the file it does neither. In `deploy/k8s` and `docker-compose.yml` the producer does not have the token.",
		},
		{
			key: "rate_limit", def: fmt.Sprintf("`%d`", DefaultRate), read: d.scalar(integer(&one.Rate, 1, 10000)),
			doc: "Messages per second, 1 to 10000. Without it, workers use 80 until they know better: they ask Meta for the number's [throughput](https://developers.facebook.com/docs/whatsapp/cloud-api/overview#throughput) (80 or 1,000) at their start, when the last answer to any worker is more than an hour old, and when a webhook reports a change.",
		},
		{
			key: "unknown_types", def: "`pass`", read: d.scalar(oneOf(&one.Unknown, "pass", "refuse")),
			doc: "What the producer does with a message of a type or an interactive kind that this version of Sluice does not know. `pass`: accept it without a check, with a warning in the answer. `refuse`: refuse it.",
		},
		{
			key: "other_app_conversations", def: "`refuse`", read: d.scalar(oneOf(&one.Other, "refuse", "wait", "send")),
			doc: "What Sluice does with a service message in a [conversation that another app owns](conversations.md). `refuse`: refuse it with the code `conversation_of_other_app`. `wait`: accept it, and send it when the other app does not own the conversation any more. `send`: send it to Meta, for an app that may take conversations.",
		},
		{
			key: "customer_service_window", def: "`off`", read: d.scalar(oneOf(&one.Window, WindowOff, WindowRefuse)),
			doc: "What Sluice does with a free-form message to a person whose [customer service window](customer-service-window.md) is closed. `off`: send it to Meta, which refuses it with 131047. `refuse`: send its `fallback_template` in its place, or refuse it with the code `service_window_closed`. It needs a secrets key and the index of recipients.",
		},
		{
			key: "messaging_account_id", read: d.scalar(accountID(&one.MessagingAccount)),
			doc: "Meta's id of the [messaging account](conversations.md#messaging-accounts) of messages that name none. Without it Meta chooses by the app. You need it if the app has several messaging accounts on the number.",
		},
		{
			key: "marketing_messages", def: "`off`", read: d.scalar(oneOf(&one.Marketing, MarketingOff, MarketingFallback, MarketingStrict)),
			doc: "Whether messages of marketing templates go to Meta's Marketing Messages API. `off`: no. `fallback`: yes, and Meta may send them with the Cloud API instead. `strict`: yes, and only so. See [marketing.md](marketing.md).",
		},
		{
			key: "message_activity_sharing", def: "Meta's", read: d.scalar(optional(&one.Sharing)),
			doc: "`true` or `false`: whether Meta may use what recipients do with these messages to improve the delivery of your ads and messages.",
		},
		{
			key: "graph_version", def: "`graph.version`", read: d.scalar(graphVersion(&one.Versions.Version)),
			doc: "Version of the Graph API with which the number sends, like `v25.0`.",
		},
		{
			key: "graph_version_canary", read: d.graphCanary(&one.Versions),
			doc: "Another version for a share of the messages, in percent: `{version: v27.0, share: 5}`. See [graph-versions.md](graph-versions.md).",
		},
		{
			key: "classes", read: d.classes(&one.Classes),
			doc: "Settings of `classes` that are different for this number.",
		},
		{
			key: "client", read: d.scalar(name(&one.Client)),
			doc: "Name of the client that the number belongs to, one of `clients`.",
		},
		{
			key: "shared_with", read: d.list(func(path string, n *yaml.Node) {
				var client string
				d.scalar(name(&client))(path, n)
				one.Shared = append(one.Shared, client)
			}),
			doc: "Names of other clients that may send from the number, of `clients`. [clients.md](clients.md#share-a-number) says what each of them sees.",
		},
		{
			key: "suppress", def: "that of the client", read: d.suppress(&one.Suppress),
			doc: "Classes that people who [opted out](opt-out.md) do not get from the number: `[marketing]` or `[marketing, utility]`.",
		},
		{
			key: "quiet_hours", read: d.quietHours(&one.Quiet),
			doc: "When messages of the number are not sent, by the clock of the recipient: `[{from: \"21:00\", to: \"08:00\"}]`. Those of the client apply too. See [quiet-hours.md](quiet-hours.md).",
		},
		{
			key: "auto_reply", read: d.autoReply(one),
			doc: "What Sluice answers to people who write to the number: fixed texts to words, what a hook of yours says, and texts for new people and for closing time. See [auto-reply.md](auto-reply.md).",
		},
		{
			key: "template_classes", read: d.list(d.templateClass(one)),
			doc: "Default class of template messages, by the name of the template: a list of `{name: otp_*, class: authentication}`. `*` matches any characters. The first match counts. Without a match the class is the category of the template at Meta: [message-life.md](message-life.md#default-class) says how Sluice reads it.",
		},
	}
}

func (d *document) ofApp(one *app) []member {
	return []member{
		{
			key: "name", must: true, read: d.scalar(name(&one.Name)),
			doc: "1 to 32 of a-z, 0-9 and `-`. The last part of the webhook path.",
		},
		{
			key: "secret_file", def: "required", read: d.secretFile(&one.secretFile),
			doc: "File with the app secret, which signs the webhooks.",
		},
		{
			key: "previous_secret_file", read: d.secretFile(&one.previousSecretFile),
			doc: "File with the previous app secret. Sluice accepts it too while you change the secret.",
		},
		{
			key: "previous_secret_expires", read: d.scalar(moment(&one.PreviousExpires)),
			doc: "When Sluice stops accepting the previous app secret, for example `2027-01-31T00:00:00Z`. Without it: when you remove the file from the configuration.",
		},
		{
			key: "verify_token_file", def: "required", read: d.secretFile(&one.verifyTokenFile),
			doc: "File with the verify token of the webhook handshake. Enter the same token at Meta. At least 16 characters; `openssl rand -hex 32` makes one.",
		},
	}
}

func (d *document) ofAPIKey(one *APIKey) []member {
	var id, scope string
	return []member{
		{
			key: "name", must: true, read: d.scalar(name(&one.Name)),
			doc: "1 to 32 of a-z, 0-9 and `-`. Logs and the audit log show it.",
		},
		{
			key: "sha256", must: true, read: d.scalar(digest(&one.SHA256)),
			doc: "SHA-256 of the key in hex. Make a key with `openssl rand -hex 32` and its hash with `printf %s \"$KEY\" \\| sha256sum`.",
		},
		{
			key: "phone_number_ids", must: true, read: d.list(func(path string, n *yaml.Node) {
				d.scalar(idOrAll(&id))(path, n)
				one.Numbers = append(one.Numbers, id)
			}),
			doc: "Phone number ids that the key may use. `\"*\"`: all.",
		},
		{
			key: "scopes", must: true, read: d.list(func(path string, n *yaml.Node) {
				d.scalar(oneOf(&scope, Scopes()...))(path, n)
				one.Scopes = append(one.Scopes, scope)
			}),
			doc: "One or more of `messages:send` (send messages), `messages:read` (read records and explanations), `messages:cancel` (cancel messages), `account:write` (change message templates, flows and settings on [Meta's paths](drop-in.md)), `events:read` (read [events](events.md)), `console:read` (see the [console](console.md)) and `admin` (use the console: holds, in-doubt messages, dead letters).",
		},
		{
			key: "revoked", def: "`false`", read: d.scalar(truth(&one.Revoked)),
			doc: "`true`: requests with the key are refused with the code `api_key_revoked`. A key that is not listed is refused with `unauthenticated`.",
		},
		{
			key: "expires", read: d.scalar(moment(&one.Expires)),
			doc: "From this time on, requests with the key are refused with the code `api_key_expired`, for example `2027-01-31T00:00:00Z`. To change a key without a gap, keep the old one for a time with `previous_sha256`.",
		},
		{
			key: "previous_sha256", read: d.scalar(digest(&one.PreviousSHA256)),
			doc: "SHA-256 of the previous key in hex. Sluice accepts it too while callers change the key.",
		},
		{
			key: "previous_expires", read: d.scalar(moment(&one.PreviousExpires)),
			doc: "From this time on, requests with the previous key are refused. Without it: when you remove `previous_sha256`.",
		},
		{
			key: "client", read: d.scalar(name(&one.Client)),
			doc: "Name of the client that the key belongs to, one of `clients`. The key may use only numbers of this client; `\"*\"` means all of them.",
		},
		{
			key: "messaging_account_id", read: d.scalar(accountID(&one.MessagingAccount)),
			doc: "Meta's id of the [messaging account](conversations.md#messaging-accounts) of messages that are sent with this key and name none. Without it: that of the number.",
		},
	}
}

func (d *document) ofClient(one *Client) []member {
	return []member{
		{
			key: "name", must: true, read: d.scalar(name(&one.Name)),
			doc: "1 to 32 of a-z, 0-9 and `-`.",
		},
		{
			key: "note", read: d.scalar(note(&one.Note)),
			doc: "A note for operators, up to 500 characters.",
		},
		{
			key: "weight", def: "`1`", read: d.scalar(integer(&one.Weight, 1, maxWeight)),
			doc: "1 to 1000. Clients [share the slots](clients.md#share-the-slots) of a number by their weights.",
		},
		{
			key: "campaign_weights", read: d.weights(&one.Campaigns),
			doc: "Weights of campaigns of the client among each other, 1 to 1000, by the name of the campaign: `{spring: 3}`. Others have 1.",
		},
		{
			key: "suppress", def: "`[marketing]`", read: d.suppress(&one.Suppress),
			doc: "Classes that people who [opted out](opt-out.md) do not get from the client: `[marketing]` or `[marketing, utility]`.",
		},
		{
			key: "quiet_hours", read: d.quietHours(&one.Quiet),
			doc: "When messages of the client are not sent, by the clock of the recipient: `[{from: \"21:00\", to: \"08:00\"}]`. See [quiet-hours.md](quiet-hours.md).",
		},
		{
			key: "frequency_caps", read: d.frequencyCaps(&one.Caps),
			doc: "How many messages a person gets from the client: `[{messages: 2, within: 24h}]`. See [frequency-caps.md](frequency-caps.md).",
		},
		{
			key: "quotas", read: func(path string, n *yaml.Node) {
				classes := map[string]Quota{}
				known := append(d.ofQuota(&one.Quotas.Quota), member{key: "classes", read: func(path string, n *yaml.Node) {
					var known []member
					for _, class := range classNames {
						known = append(known, member{key: class, read: func(path string, n *yaml.Node) {
							var q Quota
							d.mapping(path, n, d.ofQuota(&q))
							classes[class] = q
						}})
					}
					d.mapping(path, n, known)
				}})
				if d.mapping(path, n, known); len(classes) > 0 {
					one.Quotas.Classes = classes
				}
			},
			doc: "How many messages of the client are accepted: `per_second`, `per_day` and `per_month`, and the same for classes: `{per_day: 100000, classes: {marketing: {per_day: 20000}}}`. [clients.md](clients.md#quotas) describes them.",
		},
		{
			key: "budgets", read: d.budgets(&one.Budgets),
			doc: "The most that the messages of the client may cost at Meta: `{per_day: \"100.00\", per_month: \"2000\"}`. See [budgets.md](budgets.md).",
		},
	}
}

// suppress reads the classes that people who opted out do not get. Marketing is always one of them: the person said no to it.
func (d *document) suppress(dst *[]string) func(string, *yaml.Node) {
	read := d.list(func(path string, n *yaml.Node) {
		var class string
		d.scalar(oneOf(&class, "marketing", "utility"))(path, n)
		*dst = append(*dst, class)
	})
	return func(path string, n *yaml.Node) {
		if read(path, n); len(*dst) > 0 && !slices.Contains(*dst, "marketing") {
			d.wrong(path, n, errors.New("lacks marketing: add it"))
		}
	}
}

// wordMost is how many characters a stop word has at most.
const wordMost = 50

// words reads words to add and to remove.
func (d *document) words(dst *Words) func(string, *yaml.Node) {
	of := func(list *[]string) func(string, *yaml.Node) {
		return d.list(func(path string, n *yaml.Node) {
			d.scalar(func(s string) error {
				if utf8.RuneCountInString(s) > wordMost {
					return fmt.Errorf("has more than %d characters", wordMost)
				}
				*list = append(*list, s)
				return nil
			})(path, n)
		})
	}
	return func(path string, n *yaml.Node) {
		d.mapping(path, n, []member{{key: "add", read: of(&dst.Add)}, {key: "remove", read: of(&dst.Remove)}})
	}
}

// maxWeight is the largest weight, and campaignMost how many characters the name of a campaign has at most, as in a message.
const (
	maxWeight    = 1000
	campaignMost = 64
)

// weights reads weights by name.
func (d *document) weights(dst *map[string]int) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		var known []member
		*dst = map[string]int{}
		for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
			name := n.Content[i].Value
			if length := utf8.RuneCountInString(name); length == 0 || length > campaignMost {
				d.wrong(path, n.Content[i], fmt.Errorf("the name of a campaign has 1 to %d characters, %q has %d", campaignMost, name, length))
			}
			known = append(known, member{key: name, read: func(path string, n *yaml.Node) {
				var weight int
				if d.scalar(integer(&weight, 1, maxWeight))(path, n); weight > 0 {
					(*dst)[name] = weight
				}
			}})
		}
		d.mapping(path, n, known)
	}
}

func (d *document) ofQuota(q *Quota) []member {
	const most = 1_000_000_000
	return []member{
		{key: "per_second", read: d.scalar(integer(&q.PerSecond, 1, most))},
		{key: "per_day", read: d.scalar(integer(&q.PerDay, 1, most))},
		{key: "per_month", read: d.scalar(integer(&q.PerMonth, 1, most))},
	}
}

// The defaults of a canary: the time from one to the next, and the longest time that it may take.
const (
	defaultCanary = 15 * time.Minute
	maxCanaryWait = 5 * time.Minute
)

func (d *document) ofCanary(one *canary) []member {
	return []member{
		{
			key: "phone_number_id", must: true, read: d.scalar(numberID(&one.Number)),
			doc: "The number that sends, one of `numbers`. A number has one canary at most.",
		},
		{
			key: "to", read: d.scalar(phoneNumber((*string)(&one.To))),
			doc: "The recipient, like `\"+15551234567\"`: a phone of yours that is always on. Give `to` or `to_file`.",
		},
		{
			key: "to_file", read: d.scalar(d.resolved(text(&one.toFile))),
			doc: "File with the recipient.",
		},
		{
			key: "template", read: d.scalar(pattern(&one.Template, `[a-z0-9_]{1,512}/[A-Za-z]{2,3}(_[A-Za-z]{2,4})?`, "a template as name/language, like hello_world/en_US")),
			doc: "The template to send, as name/language: `hello_world/en_US`. It must have no parameters. Give `template` or `text`.",
		},
		{
			key: "text", read: d.scalar(text(&one.Text)),
			doc: "The text to send. Meta delivers it only if the recipient wrote to the number in the last 24 hours.",
		},
		{
			key: "every", def: "`15m`", read: d.scalar(duration(&one.Every, time.Minute, 24*time.Hour)),
			doc: "Time from one canary to the next. 1m to 24h.",
		},
		{
			key: "within", def: "half of `every`, at most `5m`", read: d.scalar(duration(&one.Within, 10*time.Second, 24*time.Hour)),
			doc: "How long a canary may take until it is delivered. Then it has failed, and Sluice starts no attempt to send it any more. 10s or more, and shorter than `every`.",
		},
	}
}

func (d *document) ofClass(c *Class) []member {
	return []member{
		{
			key: "deadline", read: d.scalar(duration(&c.Deadline, time.Second, 30*24*time.Hour)),
			doc: "From acceptance to the last moment an attempt may start, when the request names no `expires_at`. 1 s to 720 h.",
		},
		{
			key: "in_doubt_window", read: d.scalar(duration(&c.InDoubtWindow, time.Second, 7*24*time.Hour)),
			doc: "How long Sluice waits for a status from Meta when a request got no answer. 1 s to 168 h. With `in_doubt_policy: resend` 30 s or more, because the request may still be under way.",
		},
		{
			key: "in_doubt_policy", read: d.scalar(oneOf(&c.InDoubtPolicy, inDoubtPolicies...)),
			doc: "What happens at the end of the in-doubt window. `resend`: send once more, if the deadline allows it. `park`: wait for a decision of an operator. `close`: `failed` with the reason `undetermined`, never sent again.",
		},
		{
			key: "server_error_window", read: d.scalar(duration(&c.ErrorWindow, time.Second, time.Hour)),
			doc: "How long Sluice waits for a status from Meta after a server error, before it retries. 1 s to 1 h.",
		},
		{
			key: "webhook_retry_window", read: d.scalar(duration(&c.RepeatWindow, time.Second, 7*24*time.Hour)),
			doc: "How long Sluice waits for Meta to repeat webhooks, if Sluice refused or missed a webhook while the message was in doubt. Only after this time it resends or closes the message. If the deadline comes first, the message is parked. 1 s to 168 h.",
		},
		{
			key: "portfolio_limit", def: "`refuse`", read: d.scalar(oneOf(&c.PortfolioLimit, "refuse", "wait")),
			doc: "What the producer does with a new message that the [messaging limit](limits.md) of its portfolio would keep beyond its deadline. `refuse`: refuse it with the code `portfolio_limit_reached`. `wait`: accept it; it may expire.",
		},
	}
}
