package message

// Request is a message as a worker sends it to Meta.
type Request struct {
	ID        string // Sluice's id of the message
	Number    string // Meta's phone number id of the sender
	Template  string // as name/language; empty: it is not a template message
	Version   string // of the Graph API, like "v25.0"; empty: that of the client
	Marketing bool   // it goes to Meta's Marketing Messages API
	Fixed     bool   // the caller, or an earlier refusal by Meta, decided about Marketing: it does not change after another refusal
	Body      []byte // what is POSTed
}

// Route is how a message goes to Meta: the last part of the path.
type Route string

// The routes.
const (
	RouteMessages  Route = "messages"
	RouteMarketing Route = "marketing_messages" // Meta's Marketing Messages API
)

// OtherVersion in Outcome.Needs means that Meta does not know the version of the Graph API of the request.
const OtherVersion Route = "version"

// Route returns the route of the request.
func (r Request) Route() Route {
	if r.Marketing {
		return RouteMarketing
	}
	return RouteMessages
}
