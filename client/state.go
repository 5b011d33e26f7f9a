package client

// State is the state of a message. A later version of Sluice can have more states. docs/message-life.md describes how a
// message goes from state to state.
type State string

// The states. The last eight are final: Sluice does not send the message again by itself.
const (
	StateQueued     State = "queued"     // waits for its turn
	StateAttempting State = "attempting" // its request may be on the way to Meta
	StateInDoubt    State = "in_doubt"   // an attempt ended without a definite answer
	StateParked     State = "parked"     // an operator has to decide about an in-doubt message
	StateSubmitted  State = "submitted"  // Meta accepted it
	StateSent       State = "sent"       // it is on its way to the recipient's phone
	StateDelivered  State = "delivered"  // it is on the recipient's phone
	StateRead       State = "read"       // the recipient read it
	StatePlayed     State = "played"     // the recipient played the voice message
	StateFailed     State = "failed"     // Meta accepted it and did not deliver it
	StateRejected   State = "rejected"   // Meta refused it for good
	StateExpired    State = "expired"    // its deadline passed
	StateCancelled  State = "cancelled"  // the caller or an operator cancelled it
	StateDead       State = "dead"       // given up; it is in the dead-letter list
)

// Class decides the priority of a message, its deadline, and what happens when the result of an attempt is unknown.
type Class string

// The classes, the most urgent first.
const (
	ClassAuthentication Class = "authentication"
	ClassService        Class = "service"
	ClassUtility        Class = "utility"
	ClassMarketing      Class = "marketing"
)

// Result is the result of a message that has ended.
type Result string

// The results.
const (
	ResultDelivered    Result = "delivered"     // Meta reported that it delivered the message
	ResultNotDelivered Result = "not_delivered" // it is certain that the message was not delivered, and Sluice does not send it
	ResultUnknown      Result = "unknown"       // the message may have been delivered, and Sluice does not send it
)

// EventType is the type of an event. A later version of Sluice can have more types: ignore those that you do not know.
type EventType string

// The types of events.
const (
	EventMessage  EventType = "message"  // the state of a message changed, or Meta accepted it a second time
	EventFinal    EventType = "final"    // a message has ended
	EventStatus   EventType = "status"   // Meta sent a status
	EventInbound  EventType = "inbound"  // a person sent a message to your number
	EventStandby  EventType = "standby"  // a message or a status in a conversation that another app owns
	EventHandover EventType = "handover" // a conversation has another owner
	EventUpdate   EventType = "update"   // Meta sent news about a template, an account or a number
	// A person opted out of marketing messages, or in again.
	EventSuppression EventType = "suppression"
	// A consumer group in Redis or a relay target was too slow and missed events.
	EventGap EventType = "gap"
)
