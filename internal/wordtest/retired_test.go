package wordtest

// retired are words that a text for readers and an exported name do not use. pattern is a regular
// expression for whole words in lower case; instead is what to write, in the words of
var retired = []struct{ pattern, instead, example string }{
	// Idioms.
	{`told|tells`, "say which program reports what: reports, says, shows, returns", "the caller is told why"},
	{`nobody|somebody`, "name who it is: no program, an operator, another worker", "nobody reads it"},
	{`mends?|mended|mending`, "correct, fix, repair", "mend the token"},
	{`beside`, "next to, with, compared with, in addition to", "the worker beside it"},
	{`as far as`, "up to, to the extent that", "as far as we know"},
	{`just now`, "temporarily, at the moment", "not available just now"},
	{`burns?|burned|burnt|burning`, "uses, wastes", "it burns attempts"},
	{`, say`, "for example", "a campaign's tag, say"},
	{`at (its|their) end`, "ended, final", "the message is at its end"},
	{`whom`, "recipient, or the name of who acts", "the recipient to whom it goes"},
	{`he|his|him|himself`, "the operator, the caller, they", "an operator and his reason"},
	{`rides?`, "is sent in, travels in", "the marker rides in the body"},
	{`mishaps?`, "fault, failure", "the seed of all mishaps"},
	{`patience`, "max delay (linger)", "the patience of a batch"},

	// Metaphors.
	{`rooms?`, "package (of Go), memory, space, capacity", "the room that knows asynq"},
	{`houses?`, "packages, module, repository", "the rooms of the house"},
	{`desks?|clerks?|keepers?|shelf|shelves`, "store, repository", "the desk of the console"},
	{`ears?|hears?|heard`, "webhook liveness, last status received", "what the ear heard"},
	{`crowds?|crowded|strangers?`, "load shedding, overloaded, unauthenticated client", "refused as crowded"},
	{`breaths?|climbs?|climbed|climbing`, "rate increase, raise", "the climb of a number"},

	// Terms with another word.
	{`deeds?`, "audit entry, operator action", "a deed is recorded"},
	{`trails?`, "audit log", "it stands in the trail"},
	{`lifts?|lifted|lifting`, "release (a hold), raise (a state, a limit)", "lift the hold"},
	{`evidence`, "delivery report, status event", "evidence settles it"},
	{`receipts?`, "delivery report, status event; only WhatsApp's read receipt has this name", "receipts come later"},
	{`folds?|folded|folding|unfolded`, "apply (a status)", "the status is folded in"},
	{`doubts?`, "in-doubt message, in-doubt window", "doubts wait for webhooks"},
	{`unreported|owed|owes`, "awaiting status", "unreported messages"},
	{`bury|buried|burying`, "dead-letter", "a buried event"},
	{`seals?|sealed|sealing|unsealed`, "signature, sign, unsigned", "the seal of a payload"},
	{`beats?`, "heartbeat", "the beat of a worker"},
	{`(take|takes|taking|taken|took) up`, "reclaim", "its tasks are taken up"},
}

// allowed are phrases with one of these words that are right. `doubts` and `heard` are keys in Redis, and `receipt`
// is a member of events of version 1.
var allowed = []string{"read receipts", "read receipt", "in-doubt", "in doubt", "`doubts`", ":doubts`", ":heard`", "`receipt`", "burn rate", "Burn rate"}

// stored are names in Redis and in events of version 1. A string of the code that is exactly such a name may have a
// retired word.
var stored = []string{"heard", "doubts", `json:"receipt"`}

// pending are the files and the packages with texts that are not rewritten yet. One without a
// retired word fails the test: take it out of this list.
var pending = []string{}
