package cloudapi

import (
	"slices"
	"time"

	"sluice/internal/message"
)

// codes is the catalogue, in ascending order. The codes and their meanings are Meta's:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes
// https://developers.facebook.com/docs/graph-api/guides/error-handling
// Kinds, scopes and delays are decisions of Sluice. Some lists of codes on the Internet are wrong: where a wrong
// meaning is common, the entry says so.
//
// Only codes after which Meta may have accepted the message have the kind ServerError.
var codes = slices.Concat(graphCodes, messageCodes, templateCodes)

// The entries for answers without a known code.
var (
	tooManyRequests = Entry{
		Code: NoCode, Title: "HTTP 429",
		Meaning: "Too many requests. The answer does not say which limit was reached.",
		Advice:  "Nothing for this message. Find the other program that calls the Graph API with this app so often.",
		Status:  429, Kind: message.Throttled, Scope: ScopeApp, From: FromAnswer, RetryAfter: 10 * time.Second,
	}
	unauthorized = Entry{
		Code: NoCode, Title: "HTTP 401",
		Meaning: "Meta, or a proxy, did not accept the access token, and does not say why.",
		Advice:  "Check the proxies in between. Give the number a new access token of a system user; Sluice then sends the waiting messages by itself.",
		Status:  401, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	}
	unknownServerError = Entry{
		Code: NoCode, Title: "an unknown code with HTTP 5xx or 408",
		Meaning: "An internal error of Meta that Sluice does not know. Meta may or may not have accepted the message.",
		Advice:  "Look up the code in Meta's table. If it is there, report it to the developers of Sluice.",
		Status:  500, Kind: message.ServerError, Scope: ScopeMessage, From: FromAnswer,
	}
	// A refusal would be final, and a retry could send the message twice. So the message waits in doubt for a status.
	unknownTransient = Entry{
		Code: NoCode, Title: "an unknown code with another 4xx, and Meta calls it transient",
		Meaning: "A temporary error that Sluice does not know.",
		Advice:  "Look up the code in Meta's table. If it is there, report it to the developers of Sluice.",
		Status:  400, Kind: message.ServerError, Scope: ScopeMessage, From: FromAnswer,
	}
	unknownCode = Entry{
		Code: NoCode, Title: "an unknown code with another 4xx",
		Meaning: "Meta refused the message for a reason that Sluice does not know.",
		Advice:  "Look up the code in Meta's table. If it is there, report it to the developers of Sluice.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromAnswer,
	}
	gatewayError = Entry{
		Code: NoCode, Title: "HTTP 5xx or 408 without a code",
		Meaning: "Meta's gateway or a proxy failed. Meta may or may not have accepted the message.",
		Advice:  "Wait. If it lasts, check Meta's status page and your own proxies.",
		Status:  502, Kind: message.ServerError, Scope: ScopeApp, From: FromAnswer,
	}
	notMeta = Entry{
		Code: NoCode, Title: "HTTP 3xx or another 4xx without a code",
		Meaning: "Something that is not the Graph API answered.",
		Advice:  "Check the Graph base URL, the API version and the proxies in between.",
		Status:  404, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	}
	// The HTTP status alone proves nothing: proxies and sign-in pages answer 200 too. And the request may still have
	// reached Meta.
	unreadable = Entry{
		Code: NoCode, Title: "HTTP 2xx of the Graph API that names no message",
		Meaning: "Meta answered, and its answer does not say whether it accepted the message.",
		Advice:  "If it lasts, report it to Meta with the fbtrace_id, and check the proxies in between.",
		Status:  200, Kind: message.NoAnswer, Scope: ScopeNumber, From: FromAnswer,
	}
	notMeta2xx = Entry{
		Code: NoCode, Title: "HTTP 2xx that names no message and lacks Meta's headers",
		Meaning: "Something that is not the Graph API answered: a sign-in page of the network, a proxy, a wrong base URL. The record names the server.",
		Advice:  "Check the Graph base URL and the proxies in between. Sluice holds the number after five such answers in a row, and sends the waiting messages by itself later.",
		Status:  200, Kind: message.ServerError, Scope: ScopeNumber, From: FromAnswer,
	}
)
