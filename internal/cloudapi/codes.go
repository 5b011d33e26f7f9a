package cloudapi

import (
	"time"

	"sluice/internal/message"
)

// codes is the catalogue, in ascending order. Codes and meanings are Meta's:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes
// https://developers.facebook.com/docs/graph-api/guides/error-handling
// Kinds, scopes and delays are ours. Several lists in circulation shift or invent codes;
// where a wrong meaning is common, the entry says so.
//
// ServerError is for codes that leave open whether the message was taken, and for no others.
var codes = []Entry{
	{
		Code: 0, Title: "AuthException",
		Meaning: "The access token expired or was invalidated, or the app's user removed the app.",
		Advice:  "Give the number a new access token of a system user; Sluice then sends the waiting messages by itself.",
		Status:  401, Kind: message.Held, Scope: ScopeNumber, From: FromBoth,
	},
	{
		Code: 1, Title: "API Unknown",
		Meaning: "The request is invalid, or Meta has an internal error; Meta does not say which.",
		Advice:  "Wait. If one message gets it again and again, compare its fields with a message that Meta took.",
		Status:  400, Kind: message.ServerError, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 2, Title: "API Service",
		Meaning: "Meta is temporarily down or overloaded.",
		Advice:  "Wait. If it lasts, check Meta's status page.",
		Status:  503, Kind: message.ServerError, Scope: ScopeApp, From: FromAnswer,
	},
	{
		Code: 3, Title: "API Method",
		Meaning: "The app or the token lacks a capability or permission: this is not an internal error of Meta, although the HTTP status is 500.",
		Advice:  "Give the token's system user whatsapp_business_messaging and access to the account, then make a new token.",
		Status:  500, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	},
	{
		Code: 4, Title: "API Too Many Calls",
		Meaning: "The app has used up its Graph API calls.",
		Advice:  "Nothing for this message. Find the other program that calls the Graph API with this app so often.",
		Status:  400, Kind: message.Throttled, Scope: ScopeApp, From: FromAnswer, RetryAfter: time.Minute,
	},
	{
		Code: 10, Title: "API Permission Denied",
		Meaning: "The permission was not granted or was removed, or the account may not use this endpoint. It does not mean that the app is not in live mode.",
		Advice:  "Give the token's system user whatsapp_business_messaging and access to the account, then make a new token.",
		Status:  403, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	},
	{
		Code: 17, Title: "User request limit",
		Meaning: "The token's user has used up its Graph API calls.",
		Advice:  "Nothing for this message. Find the other program that calls the Graph API with this app so often.",
		Status:  429, Kind: message.Throttled, Scope: ScopeApp, From: FromAnswer, RetryAfter: time.Minute,
	},
	{
		Code: 33, Title: "Parameter value is not valid",
		Meaning: "The phone number was deleted from the account, or its id is wrong.",
		Advice:  "Compare the phone number id in the configuration with the WhatsApp Manager.",
		Status:  400, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	},
	{
		Code: 100, Title: "Invalid parameter",
		Meaning: "A parameter is misspelt, not supported, too long or of the wrong type.",
		Advice:  "Correct the message's fields. The caller must send it again.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 100, Subcode: 33, Title: "Unsupported request",
		Meaning: "There is no object with this id, or the token has no access to it.",
		Advice:  "Check the phone number id and that the token's system user has access to its account.",
		Status:  400, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	},
	{
		Code: 102, Title: "API Session",
		Meaning: "The token's session is expired, revoked or invalid.",
		Advice:  "Give the number a new access token of a system user; Sluice then sends the waiting messages by itself.",
		Status:  401, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	},
	{
		Code: 104, Title: "No access token",
		Meaning: "The request had no access token that Meta could read.",
		Advice:  "Check the number's token file; Sluice never sends without a token.",
		Status:  401, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	},
	{
		Code: 190, Title: "Access token has expired",
		Meaning: "The access token expired, was revoked, or is not valid for this app.",
		Advice:  "Give the number a new access token of a system user; Sluice then sends the waiting messages by itself.",
		Status:  401, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	},
	{
		Code: 200, Last: 299, Title: "API Permission",
		Meaning: "A permission was not granted or was removed. None of these codes is about media, 232 included.",
		Advice:  "Give the token's system user whatsapp_business_messaging and access to the account, then make a new token.",
		Status:  403, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	},
	{
		Code: 341, Title: "Application limit reached",
		Meaning: "The app has temporarily used up its calls.",
		Advice:  "Nothing for this message. Find the other program that calls the Graph API with this app so often.",
		Kind:    message.Throttled, Scope: ScopeApp, From: FromAnswer, RetryAfter: time.Minute,
	},
	{
		Code: 368, Title: "Temporarily blocked for policies violations",
		Meaning: "Meta restricted or disabled the WhatsApp Business Account for breaking a policy. It does not mean that a recipient blocked you.",
		Advice:  "Read the account's quality page. Appeal, or wait until Meta ends the restriction.",
		Status:  403, Kind: message.Held, Scope: ScopeNumber, From: FromBoth,
	},
	{
		Code: 506, Title: "Duplicate post",
		Meaning: "The Graph API considers the request a repeat of an earlier one. Not documented for WhatsApp.",
		Advice:  "Check whether the earlier message arrived before you send again.",
		Kind:    message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 613, Title: "Custom rate limit",
		Meaning: "Too many calls to this endpoint.",
		Advice:  "Nothing for this message. Find the other program that calls the Graph API with this app so often.",
		Status:  429, Kind: message.Throttled, Scope: ScopeApp, From: FromAnswer, RetryAfter: time.Minute,
	},
	{
		Code: 803, Title: "Object not found",
		Meaning: "Some of the ids in the request do not exist.",
		Advice:  "Compare the phone number id in the configuration with the WhatsApp Manager.",
		Status:  404, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	},
	{
		Code: 1026, Title: "Receiver incapable",
		Meaning: "The recipient's app cannot show this kind of message.",
		Advice:  "Send another kind of message to this recipient.",
		Kind:    message.Refused, Scope: ScopeRecipient, From: FromWebhook,
	},
	{
		Code: 80007, Title: "Rate limit issues",
		Meaning: "The WhatsApp Business Account has used up its calls.",
		Advice:  "Nothing for this message. Find the other program that calls the Graph API with this app so often.",
		Status:  400, Kind: message.Throttled, Scope: ScopeApp, From: FromAnswer, RetryAfter: time.Minute,
	},
	{
		Code: 80008, Title: "WABA template calls limit",
		Meaning: "Too many calls about the account's templates.",
		Advice:  "Nothing for this message. Find the other program that calls the Graph API with this app so often.",
		Kind:    message.Throttled, Scope: ScopeApp, From: FromAnswer, RetryAfter: time.Minute,
	},
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
		Meaning: "Meta has an unknown internal error.",
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
		Meaning: "A field has a value Meta does not take. For a reaction: the message is gone or older than 30 days.",
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
		Advice:  "Send a template instead.",
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
		Meaning: "The recipient has received the maximum of marketing messages for now, from all businesses together. In the United States marketing is paused completely.",
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
		Meaning: "Meta could not take the message's media: its type, its size, or its link did not answer.",
		Advice:  "Check type, size and link. It is better to upload the media and send its id.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromBoth,
	},
	{
		Code: 131055, Title: "Method not allowed",
		Meaning: "The endpoint takes only marketing templates, or the number is set up for SIP.",
		Advice:  "Send this message through the other endpoint.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromAnswer,
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
		Advice:  "Send it through the Marketing Messages API, or use a template without a maximum price.",
		Kind:    message.Refused, Scope: ScopeMessage, From: FromAnswer,
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
		Advice:  "Allow marketing on the Cloud API in the account's settings.",
		Kind:    message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 131064, Title: "Messaging limit",
		Meaning: "The account reached a limit Meta set because its templates were put into wrong categories; the limit ends by itself.",
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
	{
		Code: 132000, Title: "Template param count mismatch",
		Meaning: "The message and the template have different numbers of parameters.",
		Advice:  "Compare the message's parameters with the template. The caller must send it again.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 132001, Title: "Template does not exist",
		Meaning: "There is no approved template with this name in this language. A new template may need some minutes until all servers of Meta know it.",
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
		Meaning: "A parameter's value is not formatted as it must be.",
		Advice:  "Correct the value. The caller must send it again.",
		Kind:    message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 132012, Title: "Template parameter format mismatch",
		Meaning: "A parameter has another kind than in the template, for example a text instead of an image.",
		Advice:  "Compare the message's components with the template. The caller must send it again.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	// Nobody says when a pause began, so we ask again in between.
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
		Meaning: "The Marketing Messages API takes only templates of the marketing category.",
		Advice:  "Send it through the Cloud API.",
		Status:  400, Kind: message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	{
		Code: 134101, Title: "Template syncing",
		Meaning: "Meta is still connecting the template with the ad account.",
		Advice:  "Nothing. It takes about 10 minutes.",
		Status:  400, Kind: message.Transient, Scope: ScopeTemplate, From: FromAnswer, RetryAfter: 10 * time.Minute,
	},
	{
		Code: 134102, Title: "Template unavailable",
		Meaning: "The template may not be used with the Marketing Messages API.",
		Advice:  "Check the account's eligibility and terms in the WhatsApp Manager.",
		Status:  500, Kind: message.Held, Scope: ScopeTemplate, From: FromAnswer,
	},
	{
		Code: 134103, Title: "Marketing Messages API refusal",
		Meaning: "Announced by Meta without a description.",
		Advice:  "Compare the message with one that Meta took. The caller must send it again.",
		Kind:    message.Refused, Scope: ScopeMessage, From: FromAnswer,
	},
	// Meta blames the request, so a retry would meet it again. Should such a message have been
	// taken all the same, its webhook lifts it out of rejected.
	{
		Code: 135000, Title: "Generic user error",
		Meaning: "Meta could not send the message because of something in its fields and does not say what.",
		Advice:  "Compare the message with one that Meta took. The caller must send it again.",
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
	// Meta, Conversation Routing, "Routing roles": several apps share a number, one owns a conversation.
	// Meta does not document the code for messages; these are those of calls and of thread control.
	{
		Code: 138038, Title: "Conversation owned by another app (calling)",
		Meaning: "Another app owns the conversation with this recipient, so your app may not call or ask for permission to call.",
		Advice:  "Take over the conversation, or leave it to its owner.",
		Kind:    message.Refused, Scope: ScopePair, From: FromAnswer,
	},
	{
		Code: 139200, Title: "Direct Send access blocked",
		Meaning: "The account may not send free-form messages outside the window (Direct Send).",
		Advice:  "Send templates instead, or ask Meta.",
		Kind:    message.Held, Scope: ScopeNumber, From: FromAnswer,
	},
	{
		Code: 141002, Title: "Template not approved",
		Meaning: "The template is not approved; known from the health status of templates.",
		Advice:  "Have the template approved in the WhatsApp Manager.",
		Kind:    message.Held, Scope: ScopeTemplate, From: FromAnswer,
	},
	{
		Code: 141006, Title: "Payment problem of the account",
		Meaning: "The account has a billing problem; known from third parties' reports of the health status.",
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

// What an answer without a code we know is taken for.
var (
	tooManyRequests = Entry{
		Code: NoCode, Title: "HTTP 429",
		Meaning: "Too many requests. No code says which limit was reached.",
		Advice:  "Nothing for this message. Find the other program that calls the Graph API with this app so often.",
		Status:  429, Kind: message.Throttled, Scope: ScopeApp, From: FromAnswer, RetryAfter: 10 * time.Second,
	}
	unauthorized = Entry{
		Code: NoCode, Title: "HTTP 401",
		Meaning: "The access token was not accepted; no code says why.",
		Advice:  "Give the number a new access token of a system user; Sluice then sends the waiting messages by itself.",
		Status:  401, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	}
	unknownServerError = Entry{
		Code: NoCode, Title: "an unknown code with HTTP 5xx or 408",
		Meaning: "An internal error of Meta that Sluice does not know. Meta may or may not have taken the message.",
		Advice:  "Look up the code in Meta's table. If it is there, report it to the developers of Sluice.",
		Status:  500, Kind: message.ServerError, Scope: ScopeMessage, From: FromAnswer,
	}
	// A refusal would be for good and a plain retry is not proven safe, so evidence is awaited first.
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
		Meaning: "Meta's gateway or a proxy failed. Meta may or may not have taken the message.",
		Advice:  "Wait. If it lasts, check Meta's status page and your own proxies.",
		Status:  502, Kind: message.ServerError, Scope: ScopeApp, From: FromAnswer,
	}
	notMeta = Entry{
		Code: NoCode, Title: "HTTP 3xx or another 4xx without a code",
		Meaning: "Something that is not the Graph API answered.",
		Advice:  "Check the Graph base URL, the API version and the proxies in between.",
		Status:  404, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer,
	}
	// The status alone proves nothing: proxies and sign-in pages answer 200 too. What they answer for may
	// have reached Meta all the same.
	unreadable = Entry{
		Code: NoCode, Title: "HTTP 2xx of the Graph API that names no message",
		Meaning: "Meta answered, and its answer does not say whether it took the message.",
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
