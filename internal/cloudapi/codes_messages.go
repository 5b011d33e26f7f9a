package cloudapi

import (
	"time"

	"sluice/internal/message"
)

// messageCodes are the codes from 130000 to 131999: of messages, recipients, numbers and groups.
var messageCodes = []Entry{
	{
		Code: 130403, Title: "Business blocked the user",
		Meaning: "Your business blocked this recipient with the Block API.",
		Advice:  "Unblock the recipient, or stop sending to them.",
		Kind:    message.Refused, Scope: ScopeRecipient, From: FromBoth,
	},
	{
		Code: 130429, Title: "Rate limit hit",
		Meaning: "The number sent faster than its throughput allows; what it receives counts too.",
		Advice:  "Nothing. If it happens often, lower the rate limit of the number.",
		Status:  400, Kind: message.Throttled, Scope: ScopeNumber, From: FromBoth, RetryAfter: time.Second,
	},
	{
		Code: 130472, Title: "User number is part of an experiment",
		Meaning: "Meta withholds marketing messages from this recipient in an experiment.",
		Advice:  "Do not send it again: the answer will be the same.",
		Status:  400, Kind: message.Refused, Scope: ScopeRecipient, From: FromWebhook,
	},
	{
		Code: 130497, Title: "Business account is restricted from messaging users in this country",
		Meaning: "The account may not send to the recipient's country.",
		Advice:  "Check the account's country restrictions. Stop sending to that country.",
		Status:  403, Kind: message.Refused, Scope: ScopeRecipient, From: FromBoth,
	},
	{
		Code: 131000, Title: "Something went wrong",
		Meaning: "An unknown internal error of Meta.",
		Advice:  "Wait. If it lasts, report it to Meta with the fbtrace_id.",
		Status:  500, Kind: message.ServerError, Scope: ScopeMessage, From: FromBoth,
	},
	{
		Code: 131002, Title: "Invalid recipient type",
		Meaning: "The recipient type is not valid; an old code, no longer in Meta's table.",
		Advice:  "Correct recipient_type. The caller must send it again.",
		Kind:    message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 131005, Title: "Access denied",
		Meaning: "The permission was not granted or was removed.",
		Advice:  "Give the token's system user whatsapp_business_messaging and access to the account, then make a new token.",
		Status:  403, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	},
	{
		Code: 131008, Title: "Required parameter is missing",
		Meaning: "A required field is missing.",
		Advice:  "Add the field. The caller must send it again.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 131009, Title: "Parameter value is not valid",
		Meaning: "A field has a value that Meta does not accept. For a reaction: the message is gone or older than 30 days.",
		Advice:  "Correct the value. The caller must send it again.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromBoth,
	},
	{
		Code: 131014, Title: "Media link fetch failed",
		Meaning: "Meta could not fetch the media from its link; an old code, no longer in Meta's table.",
		Advice:  "Check that the link opens without a login, or upload the media and send its id.",
		Kind:    message.Refused, Scope: ScopeMessage, From: FromWebhook,
	},
	{
		Code: 131016, Title: "Service unavailable",
		Meaning: "A service of Meta is temporarily not available.",
		Advice:  "Wait. If it lasts, check Meta's status page.",
		Status:  500, Kind: message.ServerError, Scope: ScopeApp, From: FromBoth,
	},
	{
		Code: 131020, Title: "Bad group",
		Meaning: "The group has only one member, so it cannot receive messages.",
		Advice:  "Stop sending to this group until it has members.",
		Status:  400, Kind: message.Refused, Scope: ScopeRecipient, From: FromAnswer,
	},
	{
		Code: 131021, Title: "Recipient cannot be sender",
		Meaning: "The recipient is the sending number itself. It is not about a list of allowed recipients; that is 131030.",
		Advice:  "Correct the recipient.",
		Status:  400, Kind: message.Refused, Scope: ScopeRecipient, From: FromAnswer,
	},
	{
		Code: 131026, Title: "Message undeliverable",
		Meaning: "The recipient has no WhatsApp on this number, has not accepted its terms, or uses an app that is too old. Meta does not say which.",
		Advice:  "Contact the recipient in another way. After several of these stop sending to the number.",
		Status:  400, Kind: message.Refused, Scope: ScopeRecipient, From: FromBoth,
	},
	{
		Code: 131030, Title: "Recipient phone number not in allowed list",
		Meaning: "A test number can send only to the recipients on its list, five at most.",
		Advice:  "Add the recipient in the app's API setup, or send from a real number.",
		Status:  400, Kind: message.Refused, Scope: ScopeRecipient, From: FromAnswer,
	},
	{
		Code: 131031, Title: "Account has been locked",
		Meaning: "The account is restricted or disabled for breaking a policy, or something in the request could not be verified.",
		Advice:  "Read the account's quality page in the WhatsApp Manager and appeal.",
		Status:  403, Kind: message.Held, Scope: ScopeNumber, From: FromBoth,
	},
	{
		Code: 131037, Title: "WhatsApp provided number needs display name approval before message can be sent",
		Meaning: "The number comes from WhatsApp, and its display name is not approved yet.",
		Advice:  "Have the display name approved in the WhatsApp Manager.",
		Status:  400, Kind: message.Held, Scope: ScopeNumber, From: FromBoth,
	},
	{
		Code: 131041, Title: "Group unknown",
		Meaning: "The group does not exist, or the number is not in it.",
		Advice:  "Correct the group id.",
		Status:  400, Kind: message.Refused, Scope: ScopeRecipient, From: FromAnswer,
	},
	{
		Code: 131042, Title: "Business eligibility payment issue",
		Meaning: "The account cannot pay: no payment method, a used-up credit line, or missing currency or time zone.",
		Advice:  "Correct the account's billing. Sluice then sends the waiting messages by itself.",
		Status:  400, Kind: message.Held, Scope: ScopeNumber, From: FromBoth,
	},
	{
		Code: 131043, Title: "Message expired",
		Meaning: "Not in Meta's table. Third parties report it for messages that were not delivered in time. It does not mean that a template is not approved: that is 132001.",
		Advice:  "Decide whether the message is still worth sending.",
		Kind:    message.Refused, Scope: ScopeMessage, From: FromWebhook,
	},
	{
		Code: 131044, Title: "Business eligibility payment issue (calling)",
		Meaning: "The account cannot pay for calls: as 131042, for calls from customers to you.",
		Advice:  "Correct the account's billing. Messages are not affected unless 131042 comes too.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromWebhook,
	},
	{
		Code: 131045, Title: "Incorrect certificate",
		Meaning: "The number's registration failed or was lost.",
		Advice:  "Register the number again.",
		Status:  500, Kind: message.Held, Scope: ScopeNumber, From: FromBoth,
	},
	{
		Code: 131047, Title: "Re-engagement message",
		Meaning: "More than 24 hours have passed since the recipient last wrote to you. You can send only a template.",
		Advice:  "Send a template instead. With customer_service_window of the number, Sluice refuses such a message at once, or sends its fallback template.",
		Status:  400, Kind: message.Refused, Scope: ScopePair, From: FromBoth,
	},
	{
		Code: 131048, Title: "Spam rate limit hit",
		Meaning: "Too many recipients blocked or reported this number. Meta limits what it may send.",
		Advice:  "Stop the messages that recipients complain about. The limit ends when the quality of the number rises.",
		Status:  400, Kind: message.Held, Scope: ScopeNumber, From: FromBoth, RetryAfter: time.Hour,
	},
	{
		Code: 131049, Title: "Meta chose not to deliver",
		Meaning: "The recipient has received as many marketing messages as Meta allows at the moment, from all businesses together. In the United States marketing is paused completely.",
		Advice:  "Do not send it again within 24 hours. It is better not to send it at all.",
		Status:  400, Kind: message.Refused, Scope: ScopeRecipient, From: FromWebhook,
	},
	{
		Code: 131050, Title: "User stopped marketing messages",
		Meaning: "The recipient stopped marketing messages from your business.",
		Advice:  "Send this recipient no marketing until they allow it again.",
		Status:  400, Kind: message.Refused, Scope: ScopeRecipient, From: FromWebhook,
	},
	{
		Code: 131051, Title: "Unsupported message type",
		Meaning: "The message's type is not supported. It is not about the phone number.",
		Advice:  "Send another type. The caller must send it again.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 131052, Title: "Media download error",
		Meaning: "Media that a customer sent to you could not be downloaded.",
		Advice:  "Ask the customer to send it again.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromInbound,
	},
	{
		Code: 131053, Title: "Media upload error",
		Meaning: "Meta did not accept the media of the message: the type or the size is not supported, or the link did not answer.",
		Advice:  "Check type, size and link. It is better to upload the media and send its id.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromBoth,
	},
	{
		Code: 131055, Title: "Method not allowed",
		Meaning: "The Marketing Messages API accepts only templates of the category MARKETING; or the number is set up for SIP calls.",
		Advice:  "Remove product_policy from this message, or give a template of the category MARKETING. If the setting marketing_messages of the number chose the route, Sluice sends it through the Cloud API by itself.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromAnswer, Needs: message.RouteMessages,
	},
	// Meta asks for waits of 4^n seconds: https://developers.facebook.com/docs/whatsapp/cloud-api/overview#pair-rate-limits
	{
		Code: 131056, Title: "(Business Account, Consumer Account) pair rate limit hit",
		Meaning: "The number sent to the same recipient too often (pair limit): one message in 6 seconds, bursts up to 45.",
		Advice:  "Nothing; other recipients are not affected.",
		Status:  400, Kind: message.Throttled, Scope: ScopePair, From: FromBoth, RetryAfter: 6 * time.Second,
	},
	{
		Code: 131057, Title: "Account in maintenance mode",
		Meaning: "The account is in maintenance, most often for about a minute while its throughput is raised.",
		Advice:  "Nothing. It ends by itself.",
		Status:  500, Kind: message.ServerError, Scope: ScopeNumber, From: FromAnswer, RetryAfter: time.Minute,
	},
	// Meta, Marketing Messages API, "Pricing": max-price templates, open beta since October 2026.
	{
		Code: 131061, Title: "Max-price template not supported here",
		Meaning: "A template with a maximum price is sent only through the Marketing Messages API.",
		Advice:  "Set marketing_messages of the number to fallback or strict: Sluice then sends the waiting messages through the Marketing Messages API. Or use a template without a maximum price.",
		Kind:    message.Held, Scope: ScopeTemplate, From: FromAnswer, Needs: message.RouteMarketing,
	},
	{
		Code: 131062, Title: "BSUID recipient not supported",
		Meaning: "This message, for example an authentication template, needs a phone number, not a business-scoped user id.",
		Advice:  "Send it to the phone number.",
		Kind:    message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 131063, Title: "Marketing templates disabled on Cloud API",
		Meaning: "The account sends marketing templates only through the Marketing Messages API.",
		Advice:  "Set marketing_messages of the number to fallback or strict: Sluice then sends the waiting messages through the Marketing Messages API. Or allow marketing on the Cloud API in the account's settings.",
		Kind:    message.Held, Scope: ScopeTemplate, From: FromAnswer, Needs: message.RouteMarketing,
	},
	{
		Code: 131064, Title: "Messaging limit",
		Meaning: "The account reached a limit that Meta set because its templates have wrong categories. The limit ends by itself.",
		Advice:  "Correct the templates' categories, and wait until the time that Meta names.",
		Kind:    message.Held, Scope: ScopeNumber, From: FromBoth,
	},
	{
		Code: 131203, Title: "Recipient terms",
		Meaning: "The recipient has not accepted the new terms.",
		Advice:  "Stop sending to this recipient.",
		Kind:    message.Refused, Scope: ScopeRecipient, From: FromAnswer,
	},
	{
		Code: 131207, Title: "Group suspended",
		Meaning: "The group breaks a policy and is suspended.",
		Advice:  "Stop sending to this group.",
		Status:  403, Kind: message.Refused, Scope: ScopeRecipient, From: FromAnswer,
	},
	{
		Code: 131208, Title: "Group rate limit hit",
		Meaning: "Too many group operations from this number.",
		Advice:  "Nothing. It ends by itself.",
		Status:  429, Kind: message.Throttled, Scope: ScopeRecipient, From: FromAnswer, RetryAfter: time.Minute,
	},
}
