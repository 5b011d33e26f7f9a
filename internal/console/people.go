package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/archive"
	"sluice/internal/httpapi"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/portfolio"
	"sluice/internal/schedules"
)

// names knows the names of people.
type names interface {
	On() bool
	Identity(recipient string) people.Identity
	Find(ctx context.Context, recipient string) (people.Person, error)
	Forget(ctx context.Context, recipient string) (people.Person, error)
}

// personal has the messages to recipients, by the keyed hashes of the recipients.
type personal interface {
	OfRecipients(ctx context.Context, hashes []string) ([]message.Kept, error)
	// Forget deletes the record of a message that has ended or that Meta has accepted.
	Forget(ctx context.Context, id string) (bool, error)
	Cancel(ctx context.Context, id string) (message.State, error)
}

// archived has the rows of the archive about recipients, by the keyed hashes of the recipients.
type archived interface {
	ExportAll(ctx context.Context, hashes []string, f func(archive.Event) error) error
	DeleteAll(ctx context.Context, hashes []string) (int, error)
}

// limits has what the ledgers of messaging limits have about persons.
type limits interface {
	Entries(ctx context.Context, persons []portfolio.Person) ([]portfolio.Entry, error)
	Forget(ctx context.Context, persons []portfolio.Person) (int, error)
}

// suppressed has the suppression lists. The entries about a person are found by the keyed hashes of the names.
type suppressed interface {
	CountOf(ctx context.Context, client string) (int, error)
	OfPerson(ctx context.Context, names []string) ([]message.Suppression, error)
	ForgetPerson(ctx context.Context, names []string) (int, error)
}

// Traces returns what a part of Sluice stores about a person, and deletes it if forget is true.
type Traces func(ctx context.Context, who message.PersonNames, forget bool) ([]message.PersonEntry, error)

// personAtOnce is how many records of a person are written at the same time, so that they share transactions.
const personAtOnce = 64

// personTimeout bounds a request that reads all people: the table of their names, or the suppression lists.
const personTimeout = time.Minute

// personRequest is the body of POST /v1/people/show.
type personRequest struct {
	Recipient string `json:"recipient" doc:"A phone number with its country code, or a business-scoped user id. It is not stored and not logged."`
}

// personFound is its answer.
type personFound struct {
	Identities int                   `json:"identities" doc:"How many phone numbers and user ids Sluice knows of the person, that of the request included. Sluice stores keyed hashes only, so it cannot name the others."`
	Scopes     int                   `json:"portfolios" doc:"In how many business portfolios more than one of them is known."`
	Messages   map[message.State]int `json:"messages" doc:"Number of messages to the person whose records exist, by state."`
	Limits     int                   `json:"messaging_limit_entries" doc:"Number of entries about the person in the ledgers of messaging limits. They end 24 hours after the last message."`
	OptOuts    int                   `json:"suppression_entries" doc:"Number of entries about the person in suppression lists, also of a person who opted in again."`
	Schedules  int                   `json:"schedule_count" doc:"Number of schedules that send to the person."`
	Others     int                   `json:"other_entries" doc:"Number of other entries about the person: customer service windows, owners of conversations, frequency caps, automatic replies, and events in dead-letter streams."`
	Archived   int                   `json:"archive_rows" doc:"Number of rows of the archive about the person. 0 without an archive."`
	Streams    string                `json:"event_streams" doc:"What the event streams still contain."`
}

// streams is what an answer says about the event streams.
const streams = "The event streams keep what Meta reported about the person, with phone numbers and texts, until their retention ends (events.retention, 24 h unless configured). " +
	"Events that a relay target has not taken wait until it takes them. Consumers of events have their own copies."

// exportRequest is the body of POST /v1/people/export.
type exportRequest struct {
	personRequest
	order
}

// personExport is its answer.
type personExport struct {
	personFound
	Records []personMessage   `json:"records" doc:"The messages, the latest first."`
	Limits  []portfolio.Entry `json:"messaging_limits" doc:"The entries in the ledgers of messaging limits."`
	OptOuts []personOptOut    `json:"suppressions" doc:"The entries in suppression lists."`
	Events  []archive.Event   `json:"archive" doc:"The rows of the archive, the oldest first."`

	Recurring []schedules.Listed    `json:"schedules" doc:"The schedules that send to the person, by client and name."`
	Traces    []message.PersonEntry `json:"others" doc:"The other entries about the person."`
}

// personOptOut is an entry of a suppression list.
type personOptOut struct {
	Client    string                    `json:"client,omitempty" doc:"The client whose list it is. Absent: the list of the numbers without a client."`
	Recipient string                    `json:"recipient" doc:"The masked recipient."`
	OptedOut  bool                      `json:"opted_out" doc:"false: the person opted in again."`
	Source    message.SuppressionSource `json:"source" doc:"How the person opted out or in: keyword, user_preferences, meta_error, api or import."`
	Reason    string                    `json:"reason,omitempty" doc:"The reason of the request."`
	By        string                    `json:"api_key,omitempty" doc:"The name of the API key of the request."`
	Number    string                    `json:"phone_number_id,omitempty" doc:"The phone number id that the person wrote to, or that Meta's report was about."`
	At        time.Time                 `json:"at" doc:"When."`
}

// personMessage is a stored message to the person.
type personMessage struct {
	message.Context
	State      message.State   `json:"state" doc:"The state of the message."`
	AcceptedAt time.Time       `json:"accepted_at" doc:"When Sluice accepted it."`
	WAMID      string          `json:"wamid,omitempty" doc:"Meta's id of the message."`
	Object     json.RawMessage `json:"object,omitempty" doc:"Meta's message object with recipient and content. Absent when Sluice has deleted it."`
}

// deleteRequest is the body of POST /v1/people/delete.
type deleteRequest struct {
	personRequest
	Waiting string `json:"waiting,omitempty" doc:"refuse or cancel: what happens to messages to the person that wait to be sent. refuse (the default): nothing is deleted, and the answer names their number. cancel: they are cancelled and deleted."`
	order
}

// personDeleted is its answer.
type personDeleted struct {
	Deleted   int    `json:"deleted" doc:"Number of messages whose records were deleted. The key of a message stays used: of it, Sluice keeps the last state and hashes, without the recipient."`
	Cancelled int    `json:"cancelled" doc:"Number of those that were cancelled first."`
	Remaining int    `json:"remaining" doc:"Number of messages that are being sent, or in doubt. They are not deleted, and the names of the person are not either. Send the request again when they have ended."`
	Limits    int    `json:"messaging_limit_entries" doc:"Number of entries in the ledgers of messaging limits that were deleted. Where the person was counted, an entry without a name counts until its end, because Meta counts too."`
	OptOuts   int    `json:"suppression_entries" doc:"Number of entries in suppression lists whose recipients and reasons were deleted. Keyed hashes stay, so that the person gets no marketing messages."`
	Archived  int    `json:"archive_rows" doc:"Number of rows of the archive that were deleted."`
	Others    int    `json:"other_entries" doc:"Number of other entries that were deleted: customer service windows, owners of conversations, frequency caps, automatic replies, and events in dead-letter streams."`
	Streams   string `json:"event_streams" doc:"What the event streams still contain."`

	Schedules []deletedSchedule `json:"schedules" doc:"The schedules to the person, which were deleted, by client and name. A message that one of them was sending at the same moment may remain: send the request again."`
}

// deletedSchedule names a schedule.
type deletedSchedule struct {
	Client string `json:"client,omitempty" doc:"The client whose schedule it was. Absent: it was of no client."`
	Name   string `json:"name" doc:"Its name."`
}

// person returns the recipient of a request without spaces, hyphens and brackets.
func (p personRequest) person(key httpapi.Key) (string, httpapi.Refusal) {
	recipient, ok := message.Recipient(p.Recipient)
	switch {
	case !ok:
		return "", httpapi.RefuseAt("recipient", "person_invalid")
	case !key.CoversAll():
		return "", httpapi.Refuse("all_numbers_required")
	}
	return recipient, nil
}

// found is a person with the stored messages.
type found struct {
	hashes   []string
	persons  []portfolio.Person
	names    []string // in suppression lists
	optOuts  []message.Suppression
	limits   []portfolio.Entry
	shown    personFound
	messages []message.Kept
	who      message.PersonNames

	schedules []schedules.Listed
	traces    []message.PersonEntry
}

func (c *Console) find(ctx context.Context, recipient string) (f found, refused httpapi.Refusal) {
	if c.o.People == nil || !c.o.People.On() {
		return f, httpapi.RefuseAt("recipient", "recipient_index_missing")
	}
	who, err := c.o.People.Find(ctx, recipient)
	if err != nil {
		return f, c.unavailable("find person", err)
	}
	for _, id := range who.Identities {
		f.hashes, f.names = append(f.hashes, string(id[:])), append(f.names, string(id[:]))
	}
	for _, id := range who.IDs {
		f.persons, f.names = append(f.persons, portfolio.Person(id)), append(f.names, string(id[:]))
	}
	f.who = message.PersonNames{Hashes: slices.Compact(slices.Sorted(slices.Values(f.names))), Is: func(recipient string) bool {
		id := c.o.People.Identity(recipient).Hash
		return id != people.ID{} && slices.Contains(who.Identities, id)
	}}
	if f.schedules, f.traces, refused = c.traces(ctx, f.who, false); refused != nil {
		return f, refused
	}
	if c.o.Limits != nil {
		if f.limits, err = c.o.Limits.Entries(ctx, f.persons); err != nil {
			return f, c.unavailable("find person under messaging limits", err)
		}
	}
	if c.o.Suppressions != nil {
		if f.optOuts, err = c.o.Suppressions.OfPerson(ctx, f.names); err != nil {
			return f, c.unavailable("find person in suppression lists", err)
		}
	}
	if f.messages, err = c.o.Personal.OfRecipients(ctx, f.hashes); err != nil {
		return f, c.unavailable("find messages of person", err)
	}
	f.shown = personFound{
		Identities: len(who.Identities), Scopes: who.Scopes, Messages: map[message.State]int{}, Limits: len(f.limits), OptOuts: len(f.optOuts),
		Schedules: len(f.schedules), Others: len(f.traces), Streams: streams,
	}
	for _, m := range f.messages {
		f.shown.Messages[m.State]++
	}
	return f, nil
}

// traces returns the schedules to a person and what other parts of Sluice store about the person, and deletes them if forget is true.
func (c *Console) traces(ctx context.Context, who message.PersonNames, forget bool) (recurring []schedules.Listed, all []message.PersonEntry, _ httpapi.Refusal) {
	recurring, err := c.o.Schedules.OfPerson(ctx, who.Is, forget)
	if err != nil {
		return nil, nil, c.unavailable("find schedules to person", err)
	}
	for _, of := range c.o.Traces {
		some, err := of(ctx, who, forget)
		if err != nil {
			return nil, nil, c.unavailable("find what is stored about person", err)
		}
		all = append(all, some...)
	}
	return recurring, all, nil
}

// rows calls f with the rows of the archive about a person, and returns their number.
func (c *Console) rows(ctx context.Context, who *found, f func(archive.Event)) httpapi.Refusal {
	if c.o.Archived == nil {
		return nil
	}
	err := c.o.Archived.ExportAll(ctx, who.hashes, func(e archive.Event) error {
		who.shown.Archived++
		f(e)
		return nil
	})
	if err != nil {
		c.o.Log.Error("cannot read archive", "err", err)
		return httpapi.Refuse("archive_unavailable")
	}
	return nil
}

func (c *Console) showPerson(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask personRequest
	if refused := httpapi.ReadJSON(w, r, &ask); refused != nil {
		return nil, refused
	}
	recipient, refused := ask.person(key)
	if refused != nil {
		return nil, refused
	}
	who, refused := c.find(ctx, recipient)
	if refused == nil {
		refused = c.rows(ctx, &who, func(archive.Event) {})
	}
	return who.shown, refused
}

func (c *Console) exportPerson(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask exportRequest
	if refused := httpapi.ReadJSON(w, r, &ask); refused != nil {
		return nil, refused
	}
	recipient, refused := ask.person(key)
	if refused = append(ask.signed(), refused...); refused != nil {
		return nil, refused
	}
	who, refused := c.find(ctx, recipient)
	if refused != nil {
		return nil, refused
	}
	answer := personExport{Records: []personMessage{}, Limits: append([]portfolio.Entry{}, who.limits...), OptOuts: []personOptOut{}, Events: []archive.Event{}, Recurring: append([]schedules.Listed{}, who.schedules...), Traces: append([]message.PersonEntry{}, who.traces...)}
	for _, o := range who.optOuts {
		answer.OptOuts = append(answer.OptOuts, personOptOut{o.Client, o.Recipient, !o.Ended, o.Source, o.Reason, o.By, o.Number, o.At})
	}
	if refused := c.rows(ctx, &who, func(e archive.Event) { answer.Events = append(answer.Events, e) }); refused != nil {
		return nil, refused
	}
	for _, m := range who.messages {
		answer.Records = append(answer.Records, personMessage{m.Context, m.State, m.AcceptedAt.UTC(), m.WAMID, m.Object})
	}
	if refused := c.audited(ctx, ask.order, message.VerbPersonExport, recipient, key); refused != nil {
		return nil, refused
	}
	answer.personFound = who.shown
	return answer, nil
}

// audited writes the entry of the audit log about a person, whose name is masked.
func (c *Console) audited(ctx context.Context, o order, verb, recipient string, key httpapi.Key) httpapi.Refusal {
	if err := c.o.Audit.Add(ctx, o.entry(verb, message.Mask(recipient), key)); err != nil {
		return c.unavailable("write audit log", err)
	}
	c.orders.WithLabelValues(verb).Inc()
	return nil
}

func (c *Console) deletePerson(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask deleteRequest
	if refused := httpapi.ReadJSON(w, r, &ask); refused != nil {
		return nil, refused
	}
	recipient, refused := ask.person(key)
	refused = append(ask.signed(), refused...)
	if ask.Waiting != "" && ask.Waiting != "refuse" && ask.Waiting != "cancel" {
		refused = append(refused, httpapi.Problem("waiting", "waiting_unknown"))
	}
	if refused != nil {
		return nil, refused
	}
	who, refused := c.find(ctx, recipient)
	if refused != nil {
		return nil, refused
	}
	waiting := 0
	for _, m := range who.messages {
		if !m.State.Final() && !m.State.AtMeta() {
			waiting++
		}
	}
	if waiting > 0 && ask.Waiting != "cancel" {
		refused := httpapi.Refuse("person_has_messages")
		refused[0].Detail = fmt.Sprintf("Nothing was deleted: %d messages to the person have not ended.", waiting)
		return nil, refused
	}
	if refused := c.audited(ctx, ask.order, message.VerbPersonDelete, recipient, key); refused != nil {
		return nil, refused
	}
	recurring, traces, refused := c.traces(ctx, who.who, true) // first: a schedule must not send meanwhile
	if refused != nil {
		return nil, refused
	}
	done, err := c.forget(ctx, who.messages)
	if err != nil {
		return nil, c.unavailable("delete messages of person", err)
	}
	done.Others, done.Schedules = len(traces), []deletedSchedule{}
	for _, one := range recurring {
		done.Schedules = append(done.Schedules, deletedSchedule{one.Client, one.Name})
	}
	if c.o.Archived != nil {
		if done.Archived, err = c.o.Archived.DeleteAll(ctx, who.hashes); err != nil {
			c.o.Log.Error("cannot delete from archive", "err", err)
			return nil, httpapi.Refuse("archive_unavailable")
		}
	}
	if c.o.Limits != nil {
		if done.Limits, err = c.o.Limits.Forget(ctx, who.persons); err != nil {
			return nil, c.unavailable("delete person under messaging limits", err)
		}
	}
	if c.o.Suppressions != nil {
		if done.OptOuts, err = c.o.Suppressions.ForgetPerson(ctx, who.names); err != nil {
			return nil, c.unavailable("delete person from suppression lists", err)
		}
	}
	if done.Remaining == 0 { // otherwise the next request would not find them
		if _, err := c.o.People.Forget(ctx, recipient); err != nil {
			return nil, c.unavailable("delete person", err)
		}
	}
	return done, nil
}

// forget cancels messages that wait, and deletes the records of all that have ended or are at Meta.
func (c *Console) forget(ctx context.Context, all []message.Kept) (personDeleted, error) {
	var deleted, cancelled, remaining atomic.Int64
	var g errgroup.Group
	g.SetLimit(personAtOnce)
	for _, m := range all {
		g.Go(func() error {
			if m.State == message.Queued || m.State == message.Parked {
				state, err := c.o.Personal.Cancel(ctx, m.ID)
				if errors.Is(err, message.ErrNotFound) {
					return nil
				}
				if err != nil {
					return err
				}
				if state == message.Cancelled {
					cancelled.Add(1)
				}
			}
			done, err := c.o.Personal.Forget(ctx, m.ID)
			switch {
			case err != nil:
				return err
			case done:
				deleted.Add(1)
			default:
				remaining.Add(1)
			}
			return nil
		})
	}
	err := g.Wait()
	return personDeleted{Deleted: int(deleted.Load()), Cancelled: int(cancelled.Load()), Remaining: int(remaining.Load()), Streams: streams}, err
}

// longer gives a request about a person more time than others.
func longer(f func(context.Context, http.ResponseWriter, *http.Request, httpapi.Key) (any, httpapi.Refusal)) func(context.Context, http.ResponseWriter, *http.Request, httpapi.Key) (any, httpapi.Refusal) {
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), personTimeout)
		defer cancel()
		return f(ctx, w, r, key)
	}
}

const aboutPeople = "A person is all phone numbers and user ids that Meta reported together, see [people](people.md). The request is a POST with a body, so that no URL and no log has the recipient. " +
	"It finds messages that were accepted with the setting `recipient_index`, and needs an API key for all numbers. It takes about a second for a million people."

// peopleRoutes are the routes about people.
func (c *Console) peopleRoutes() []httpapi.Route {
	const who, why = `"recipient":"+49 170 1234567"`, `"actor":"anna","reason":"request of the person"`
	route := func(verb, summary, doc string, body, answer any, example string, f http.HandlerFunc, codes []string) httpapi.Route {
		return httpapi.Route{
			Method: http.MethodPost, Path: "/v1/people/" + verb, Name: verb + "Person", Group: "People", Scope: httpapi.ScopeAdmin, Summary: summary, Doc: strings.TrimSpace(aboutPeople + " " + doc),
			Body:    &httpapi.Body{Type: body, Example: "{" + example + "}"},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The answer.", Type: answer}},
			Codes:   append(codes, "person_invalid", "recipient_index_missing", "all_numbers_required", "archive_unavailable"), Handler: f,
		}
	}
	return []httpapi.Route{
		route("show", "Count what is stored about a person.", "", personRequest{}, personFound{}, who, c.handle(longer(c.showPerson)), append(httpapi.BodyCodes(), "store_unavailable")),
		route("export", "Export all that is stored about a person.", "The audit log gets an entry with the masked recipient.", exportRequest{}, personExport{}, who+","+why, c.handle(longer(c.exportPerson)), orderCodes()),
		route("delete", "Delete all that is stored about a person.", "The audit log gets an entry with the masked recipient. Messages that wait are refused or cancelled, as `waiting` says.",
			deleteRequest{}, personDeleted{}, who+`,"waiting":"cancel",`+why, c.handle(longer(c.deletePerson)), orderCodes("waiting_unknown", "person_has_messages")),
	}
}
