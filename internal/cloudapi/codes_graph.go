package cloudapi

import (
	"time"

	"sluice/internal/message"
)

// graphCodes are the codes below 130000: those of the whole Graph API, and of apps, tokens and accounts.
var graphCodes = []Entry{
	{
		Code: 0, Title: "AuthException",
		Meaning: "The access token expired or was invalidated, or the app's user removed the app.",
		Advice:  "Give the number a new access token of a system user; Sluice then sends the waiting messages by itself.",
		Status:  401, Kind: message.Held, Scope: ScopeNumber, From: FromBoth,
	},
	{
		Code: 1, Title: "API Unknown",
		Meaning: "The request is invalid, or Meta has an internal error; Meta does not say which.",
		Advice:  "Wait. If one message gets it again and again, compare its fields with a message that Meta accepted.",
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
		Code: 2500, Title: "Unknown path components",
		Meaning: "Meta does not know the version of the Graph API, or the path, of the request.",
		Advice:  "Correct graph.version, or graph_version of the number. Sluice then sends the waiting messages by itself. A canary with such a version is not used.",
		Status:  400, Kind: message.Held, Scope: ScopeNumber, From: FromAnswer, Needs: message.OtherVersion,
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
}
