package config

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"
)

// member is what may stand in a mapping. docs/configuration.md shows def and doc.
type member struct {
	key  string
	must bool   // the mapping is wrong without it
	def  string // what holds without it; empty: "none"
	doc  string
	read func(path string, n *yaml.Node)
}

// The functions below return what may stand in an entry of a list, and in a class.

func (d *document) ofNumber(one *number) []member {
	return []member{
		{
			key: "phone_number_id", must: true, read: d.scalar(numberID(&one.ID)),
			doc: "Meta's phone number id, digits only; not the phone number itself.",
		},
		{
			key: "display_number", read: d.scalar(phoneNumber(&one.Display)),
			doc: "The phone number itself, like `\"+15551234567\"`. With it, a message from the number to itself is refused at once, where Meta would refuse it later.",
		},
		{
			key: "token_file", def: "required by the worker", read: d.scalar(d.resolved(text(&one.tokenFile))),
			doc: "File with the access token. A producer that can read it passes some calls of the number on to Meta for callers who have no token (uploading media, say), for which it must reach Meta; without, it does not, and needs it for nothing else. `deploy/k8s` and `docker-compose.yml` keep it from the token. The worker reads it again every few seconds while it sends and takes a new one without a restart. While the new file is empty or unreadable the old token stays in use, and the log says so.",
		},
		{
			key: "rate_limit", def: fmt.Sprintf("`%d`", DefaultRate), read: d.scalar(integer(&one.Rate, 1, 10000)),
			doc: "Messages per second, 1 to 10000. Where it is not given, workers ask Meta for the number's [throughput](https://developers.facebook.com/docs/whatsapp/cloud-api/overview#throughput) (80 or 1,000) at their start, and again when a webhook reports an upgrade.",
		},
		{
			key: "unknown_types", def: "`pass`", read: d.scalar(oneOf(&one.Unknown, "pass", "refuse")),
			doc: "What the producer does with a message of a type, or an interactive kind, that this version of Sluice does not know, since Meta may have added it: `pass` accepts it unchecked and warns in the answer, `refuse` refuses it.",
		},
		{
			key: "classes", read: d.classes(&one.Classes),
			doc: "What differs for this number; the keys of `classes`.",
		},
		{
			key: "template_classes", read: d.list(d.templateClass(one)),
			doc: "The class of template messages whose caller names none, by the template's name: a list of `{name: otp_*, class: authentication}`. `*` stands for any characters. The first that fits counts; without one it is `utility`.",
		},
	}
}

func (d *document) ofApp(one *app) []member {
	return []member{
		{
			key: "name", must: true, read: d.scalar(name(&one.Name)),
			doc: "1 to 32 of a-z, 0-9 and `-`, the end of the webhook's path.",
		},
		{
			key: "secret_file", def: "required", read: d.scalar(d.resolved(text(&one.secretFile))),
			doc: "File with the app secret, which signs the webhooks.",
		},
		{
			key: "previous_secret_file", read: d.scalar(d.resolved(text(&one.previousSecretFile))),
			doc: "File with the secret before, still accepted while it is being changed.",
		},
		{
			key: "previous_secret_expires", read: d.scalar(moment(&one.PreviousExpires)),
			doc: "From then on it is not: a time like `2027-01-31T00:00:00Z`. Without it the secret before is accepted for as long as its file is named here.",
		},
		{
			key: "verify_token_file", def: "required", read: d.scalar(d.resolved(text(&one.verifyTokenFile))),
			doc: "File with the verify token of the handshake, which you enter at Meta too. At least 16 characters; `openssl rand -hex 32` makes one.",
		},
	}
}

func (d *document) ofAPIKey(one *APIKey) []member {
	var id, scope string
	return []member{
		{
			key: "name", must: true, read: d.scalar(name(&one.Name)),
			doc: "1 to 32 of a-z, 0-9 and `-`, for logs.",
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
			doc: "Phone number ids it may use; `\"*\"` means all.",
		},
		{
			key: "scopes", must: true, read: d.list(func(path string, n *yaml.Node) {
				d.scalar(oneOf(&scope, Scopes()...))(path, n)
				one.Scopes = append(one.Scopes, scope)
			}),
			doc: "Some of `messages:send` (order messages), `messages:read` (see what became of them and why they wait), `messages:cancel` (take them back) and `admin` (the [console](console.md): holds, doubts, dead letters).",
		},
		{
			key: "revoked", def: "`false`", read: d.scalar(truth(&one.Revoked)),
			doc: "`true`: the key is refused, and its owner is told that it was revoked. A key that is not listed is simply unknown.",
		},
		{
			key: "expires", read: d.scalar(moment(&one.Expires)),
			doc: "From then on the key is refused, and its owner is told that it expired: a time like `2027-01-31T00:00:00Z`. To change a key without a gap list the new one beside the old.",
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
			key: "in_doubt_window", read: d.scalar(duration(&c.DoubtWindow, time.Second, 7*24*time.Hour)),
			doc: "How long evidence is awaited when a request got no answer. 1 s to 168 h; where `in_doubt_policy` is `resend`, 30 s or more, because the request may still be under way.",
		},
		{
			key: "in_doubt_policy", read: d.scalar(oneOf(&c.OnDoubt, doubtChoices...)),
			doc: "What then. `resend`: once more, if time is left. `park`: wait for a person. `close`: failed, reason `undetermined`, never sent again.",
		},
		{
			key: "server_error_window", read: d.scalar(duration(&c.ErrorWindow, time.Second, time.Hour)),
			doc: "How long evidence is awaited after a server error, before the retry. 1 s to 1 h.",
		},
		{
			key: "webhook_retry_window", read: d.scalar(duration(&c.RepeatWindow, time.Second, 7*24*time.Hour)),
			doc: "How long Sluice waits for Meta's repeats after it refused or missed a webhook while a message was in doubt, before it sends the message again or closes it. A message whose deadline comes first is parked. 1 s to 168 h.",
		},
	}
}
