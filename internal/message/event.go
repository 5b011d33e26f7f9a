package message

import (
	"encoding/json"
	"slices"
	"time"
)

// EventVersion is the version of the event schema, in every event's "v". A version can get new members.
// Existing members keep their names and meanings.
const EventVersion = 2

// The types of events.
const (
	EventMessage  = "message"  // the state of a message changed
	EventFinal    = "final"    // a message has ended; see Final
	EventStatus   = "status"   // Meta reported a status; see StatusReport
	EventInbound  = "inbound"  // a person wrote to one of our numbers
	EventStandby  = "standby"  // something happened in a conversation that another app owns
	EventHandover = "handover" // a conversation has another owner; see Handover
	EventUpdate   = "update"   // Meta reported news about a template, an account or a number
	EventGap      = "gap"      // a consumer group or a relay target was too slow and missed events

	EventSuppression = "suppression" // a person opted out, or in again; see OptOut
)

// EventTypes returns all types of events.
func EventTypes() []string {
	return slices.Concat(eventTypesOfOurs, EventTypesOfMeta(), []string{EventGap})
}

// eventTypesOfOurs are the types of events about what Sluice did.
var eventTypesOfOurs = []string{EventMessage, EventFinal, EventSuppression}

// Ours reports whether the event is about what Sluice did. Else Meta reported it, or it is about missed events.
func (e Event) Ours() bool { return slices.Contains(eventTypesOfOurs, e.Type) }

// EventTypesOfMeta returns the types of events that Meta reports.
func EventTypesOfMeta() []string {
	return []string{EventStatus, EventInbound, EventStandby, EventHandover, EventUpdate}
}

// Event is one line of an entry of the event streams: the public contract for consumers.
type Event struct {
	Version  int             `json:"v" doc:"The version of this schema: 2."`
	Type     string          `json:"type" doc:"message: the state of a message changed, or Meta accepted it a second time. final: a message has ended. status: Meta sent a status. inbound: a person sent a message to your number. standby: a message or a status in a conversation that another app owns. handover: a conversation has another owner. update: Meta sent news about a template, an account or a number. suppression: a person opted out of marketing messages, or in again. gap: a consumer group or a relay target was too slow and missed events."`
	At       int64           `json:"at" doc:"When Sluice received or did it, Unix milliseconds."`
	Number   string          `json:"phone_number_id,omitempty" doc:"Meta's id of your number. Absent in updates about an account."`
	Display  string          `json:"display_phone_number,omitempty" doc:"The phone number itself, as Meta writes it. In events from Meta that name it."`
	WABA     string          `json:"waba_id,omitempty" doc:"WhatsApp Business Account id. In events from Meta."`
	Field    string          `json:"field,omitempty" doc:"The field of Meta's webhook, for example messages. In events from Meta."`
	State    *Change         `json:"state,omitempty" when:"type=message" doc:"The change."`
	Final    *Final          `json:"final,omitempty" when:"type=final" doc:"What became of the message."`
	Message  *Context        `json:"message,omitempty" when:"type=message,final" doc:"The message that changed or ended."`
	Report   *StatusReport   `json:"report,omitempty" when:"type=status" doc:"The members of Meta's status that Sluice uses."`
	Handover *Handover       `json:"handover,omitempty" when:"type=handover" doc:"Who owns the conversation."`
	OptOut   *OptOut         `json:"suppression,omitempty" when:"type=suppression" doc:"The change of a suppression list."`
	Gap      *Gap            `json:"gap,omitempty" when:"type=gap" doc:"The missed events, and the consumer group or relay target that missed them."`
	Contacts json.RawMessage `json:"contacts,omitempty" doc:"Meta's contacts of the recipient, unchanged, if Meta sent any with the status."`
	Meta     json.RawMessage `json:"meta,omitempty" doc:"Meta's own object, unchanged: a status, a message with its contact, or the value of an update or a handover. With standby: message and contact, status, or message_echo, which is a message of another app."`
}

// Change is a change of a message's state.
type Change struct {
	To      State       `json:"to" doc:"The new state."`
	Attempt int         `json:"attempt,omitempty" doc:"The number of the attempt."`
	WAMID   string      `json:"wamid,omitempty" doc:"Meta's id of the message."`
	Code    int         `json:"code,omitempty" doc:"Meta's error code."`
	Reason  string      `json:"reason,omitempty" doc:"Why the message is in this state."`
	Detail  ErrorDetail `json:"error,omitzero" doc:"Meta's own text about the error."`
	Route   Route       `json:"route,omitempty" doc:"After an attempt that went to Meta's Marketing Messages API: marketing_messages."`
	MovedTo string      `json:"moved_to,omitempty" doc:"With the reason moved: the id of the message of another number that takes its place. That message has the final event, not this one."`
}

// Final is what became of a message. It is published once in each life of the message. A life begins when the message
// is accepted, and again when an operator sends the message again.
type Final struct {
	Result  Result `json:"result" doc:"delivered: Meta reported that it delivered the message. not_delivered: the message was not delivered, and Sluice does not send it. unknown: the message may have been delivered, and Sluice does not send it."`
	Certain bool   `json:"certain" doc:"false with unknown. With not_delivered it is true: you can reach the recipient in another way."`
	State   State  `json:"state" doc:"The state in which the message ended."`
	Reason  string `json:"reason,omitempty" doc:"Why the message is in this state."`
	Code    int    `json:"code,omitempty" doc:"Meta's error code."`
	Text    string `json:"text" doc:"The result in words."`
}

// Result is the result of a message's life. The set is closed.
type Result string

// The results.
const (
	ResultDelivered    Result = "delivered"
	ResultNotDelivered Result = "not_delivered" // it is certain that no attempt was delivered, and none follows
	ResultUnknown      Result = "unknown"       // an attempt may have been delivered, and none follows
)

// Handover is a change of the owner of a conversation, under Meta's Conversation Routing.
type Handover struct {
	Owner  Owner  `json:"owner" doc:"Who owns the conversation from now on. us: your app. other_app: another app. unknown: Meta does not say."`
	Change string `json:"change" doc:"Meta's name of the change: control_passed or control_taken."`
	From   string `json:"previous_role,omitempty" doc:"Meta's name of the role that owned it before."`
	To     string `json:"new_role,omitempty" doc:"Meta's name of the role that owns it now."`
}

// OptOut is a change of a suppression list: a person opted out of marketing messages of a client, or in again.
type OptOut struct {
	Change    OptOutChange      `json:"change" doc:"opted_out: the person gets no marketing messages of the client. opted_in: the person may get them again."`
	Recipient string            `json:"recipient" doc:"A phone number or a business-scoped user id of the person, masked."`
	Client    string            `json:"client,omitempty" doc:"The client whose list changed. Absent: the list of the numbers without a client."`
	Source    SuppressionSource `json:"source" doc:"keyword: the person wrote a stop word or a start word. user_preferences: Meta reported that the person changed the setting in WhatsApp. meta_error: Meta failed a message with the code 131050. api: a request to the API."`
	Key       string            `json:"api_key,omitempty" doc:"The name of the API key of the request."`
	Since     time.Time         `json:"since" doc:"When the person said so, by Meta; with api: when the request came. Of several events about a person the latest counts."`
}

// OptOutChange is how a suppression list changed.
type OptOutChange string

// The changes.
const (
	OptedOut OptOutChange = "opted_out"
	OptedIn  OptOutChange = "opted_in"
)

// Gap is what a consumer group or a relay target missed: entries of a stream that were dropped before it read them.
type Gap struct {
	Group  string `json:"group,omitempty" doc:"The consumer group that missed them. Other groups can ignore this event."`
	Target string `json:"target,omitempty" doc:"The relay target that missed them. No other target and no stream has this event."`
	Stream string `json:"stream,omitempty" doc:"With target: the Redis stream that had them."`
	From   string `json:"from" doc:"The id of the first entry missed. With target: no entry with a lower id was missed."`
	To     string `json:"to" doc:"The id of the first entry that was not missed."`
}

// ReportsWithin is how soon Meta normally reports a status of a message that it took: sent comes within
// seconds. A message without a status after this time is shown to operators.
const ReportsWithin = 15 * time.Minute
