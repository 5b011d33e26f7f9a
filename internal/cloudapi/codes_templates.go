package cloudapi

import (
	"time"

	"sluice/internal/message"
)

// templateCodes are the codes from 132000 on: of templates and flows, and of the registration of numbers,
// payments, calls and conversations.
var templateCodes = []Entry{
	{
		Code: 132000, Title: "Template param count mismatch",
		Meaning: "The message and the template have different numbers of parameters.",
		Advice:  "Compare the message's parameters with the template. The caller must send it again.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 132001, Title: "Template does not exist",
		Meaning: "There is no approved template with this name in this language. A new template may need some minutes until all of Meta's servers have it.",
		Advice:  "Check name, language code and approval in the WhatsApp Manager.",
		Status:  404, Kind: message.Held, Scope: ScopeTemplate, From: FromAnswer, RetryAfter: 5 * time.Minute,
	},
	{
		Code: 132005, Title: "Template hydrated text too long",
		Meaning: "The text with its parameters filled in is too long.",
		Advice:  "Shorten the parameters. The caller must send it again.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 132007, Title: "Template format character policy violated",
		Meaning: "The template's content breaks a policy.",
		Advice:  "Edit the template and have it approved again.",
		Status:  400, Kind: message.Held, Scope: ScopeTemplate, From: FromAnswer,
	},
	{
		Code: 132008, Title: "Template param value invalid",
		Meaning: "A parameter's value does not have the required format.",
		Advice:  "Correct the value. The caller must send it again.",
		Kind:    message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 132012, Title: "Template parameter format mismatch",
		Meaning: "A parameter has another kind than in the template, for example a text instead of an image.",
		Advice:  "Compare the message's components with the template. The caller must send it again.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	// The answer does not say when the pause began, so Sluice tries again earlier.
	{
		Code: 132015, Title: "Template is paused",
		Meaning: "The template is paused for low quality: 3 hours the first time, then 6. Messages that Meta held back while it checked the template also end with this code.",
		Advice:  "Improve the template. The pause ends by itself.",
		Status:  400, Kind: message.Held, Scope: ScopeTemplate, From: FromBoth, RetryAfter: 30 * time.Minute,
	},
	{
		Code: 132016, Title: "Template is disabled",
		Meaning: "The template was paused too often and is disabled permanently.",
		Advice:  "Create a new template.",
		Status:  400, Kind: message.Held, Scope: ScopeTemplate, From: FromBoth, Endless: true,
	},
	{
		Code: 132018, Title: "Template validation error",
		Meaning: "The template message's parameters are not valid.",
		Advice:  "Compare the message's components with the template. The caller must send it again.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 132068, Title: "Flow is blocked",
		Meaning: "The template's flow is blocked.",
		Advice:  "Correct the flow and publish it again.",
		Status:  400, Kind: message.Held, Scope: ScopeTemplate, From: FromAnswer,
	},
	{
		Code: 132069, Title: "Flow is throttled",
		Meaning: "The flow is throttled to 10 messages an hour, and they are used up.",
		Advice:  "Correct the flow's endpoint. Meta ends the limit when the endpoint is healthy.",
		Status:  400, Kind: message.Held, Scope: ScopeTemplate, From: FromAnswer, RetryAfter: 10 * time.Minute,
	},
	{
		Code: 133004, Title: "Server temporarily unavailable",
		Meaning: "Meta's registration service is temporarily not available.",
		Advice:  "Wait. If it lasts, check Meta's status page.",
		Status:  503, Kind: message.ServerError, Scope: ScopeNumber, From: FromAnswer,
	},
	{
		Code: 133006, Title: "Phone number re-verification needed",
		Meaning: "The number must be verified before it is registered.",
		Advice:  "Verify the number in the WhatsApp Manager.",
		Status:  400, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	},
	{
		Code: 133010, Title: "Phone number not registered",
		Meaning: "The number is not registered on the Cloud API.",
		Advice:  "Register the number.",
		Status:  400, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	},
	{
		Code: 134011, Title: "WhatsApp Payments ToS pending",
		Meaning: "The terms of WhatsApp payments are not accepted.",
		Advice:  "Accept them in the WhatsApp Manager. The caller must send it again.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 134100, Title: "Only marketing messages supported",
		Meaning: "The Marketing Messages API accepts only templates of the marketing category.",
		Advice:  "Remove product_policy from this message, or give a template of the category MARKETING. If the setting marketing_messages of the number chose the route, Sluice sends it through the Cloud API by itself.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromAnswer, Needs: message.RouteMessages,
	},
	{
		Code: 134101, Title: "Template syncing",
		Meaning: "Meta is still connecting the template with the ad account: it is new, or was not sent for a week.",
		Advice:  "Nothing. It takes about 10 minutes. Then Sluice sends one message first, and after it the others.",
		Status:  400, Kind: message.Held, Scope: ScopeTemplate, From: FromAnswer, RetryAfter: 10 * time.Minute,
	},
	{
		Code: 134102, Title: "Template unavailable",
		Meaning: "The template may not be used with the Marketing Messages API: the account is not eligible, or has not accepted its terms.",
		Advice:  "Check the account's eligibility and terms in the WhatsApp Manager, or set marketing_messages of the number to off.",
		Status:  500, Kind: message.Held, Scope: ScopeTemplate, From: FromAnswer,
	},
	{
		Code: 134103, Title: "Marketing Messages API refusal",
		Meaning: "The Marketing Messages API refuses the message. Meta announced the code without a description.",
		Advice:  "Compare the message with one that Meta accepted, or set marketing_messages of the number to off. The caller must send it again.",
		Kind:    message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	// The error is about the request, so a retry would fail too. If Meta has accepted the message nevertheless, a
	// status changes the state rejected.
	{
		Code: 135000, Title: "Generic user error",
		Meaning: "Meta could not send the message because of something in its fields and does not say what.",
		Advice:  "Compare the message with one that Meta accepted. The caller must send it again.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromBoth,
	},
	{
		Code: 137000, Title: "Recipient identity key hash mismatch",
		Meaning: "The recipient installed WhatsApp again or changed the phone since you checked their identity.",
		Advice:  "Confirm the recipient's identity, then send with the new hash.",
		Kind:    message.Refused, Scope: ScopeRecipient, From: FromAnswer,
	},
	{
		Code: 138009, Title: "Call permission request limit hit",
		Meaning: "The recipient was asked for permission to call too often.",
		Advice:  "Wait before you ask this recipient again.",
		Status:  400, Kind: message.Refused, Scope: ScopePair, From: FromAnswer,
	},
	{
		Code: 138017, Title: "Permanent call permission already exists",
		Meaning: "The recipient already allowed calls permanently.",
		Advice:  "Nothing: you can call.",
		Status:  400, Kind: message.Refused, Scope: ScopePair, From: FromAnswer,
	},
	// Meta, Conversation Routing, "Routing roles": several apps share a number, and one of them owns a conversation.
	// Meta documents this code for calls and for thread control only, not for messages.
	{
		Code: 138038, Title: "Conversation owned by another app (calling)",
		Meaning: "Another app owns the conversation with this recipient, so your app may not call or ask for permission to call.",
		Advice:  "Take over the conversation, or leave it to its owner.",
		Kind:    message.Refused, Scope: ScopePair, From: FromAnswer,
	},
	{
		Code: 139200, Title: "Direct Send access blocked",
		Meaning: "The account may not send free-form messages outside the window (Direct Send).",
		Advice:  "Send templates instead, or ask Meta. Then replay the dead letters.",
		Kind:    message.Held, Scope: ScopeMessage, From: FromAnswer, // the templates of the number are sent
	},
	{
		Code: 141002, Title: "Template not approved",
		Meaning: "The template is not approved. The health status of templates has this code.",
		Advice:  "Have the template approved in the WhatsApp Manager.",
		Kind:    message.Held, Scope: ScopeTemplate, From: FromAnswer,
	},
	{
		Code: 141006, Title: "Payment problem of the account",
		Meaning: "The account has a billing problem. Third parties report this code from the health status.",
		Advice:  "Correct the account's billing. Sluice then sends the waiting messages by itself.",
		Kind:    message.Held, Scope: ScopeNumber, From: FromAnswer,
	},
	{
		Code: 2494100, Title: "Account in maintenance mode",
		Meaning: "The number is being moved or registered.",
		Advice:  "Nothing. It takes some minutes.",
		Kind:    message.Throttled, Scope: ScopeNumber, From: FromAnswer, RetryAfter: 2 * time.Minute,
	},
	{
		Code: 2494191, Title: "Conversation owned by another app",
		Meaning: "Another app owns the conversation with this recipient (Conversation Routing), so your app may send only templates.",
		Advice:  "Take over the conversation, send a template, or leave it to its owner.",
		Kind:    message.Refused, Scope: ScopePair, From: FromAnswer,
	},
}
