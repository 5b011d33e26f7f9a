package main

import (
	"context"
	"errors"

	"sluice/client"
)

type findCmd struct {
	Key           string `help:"With this idempotency key." xor:"name"`
	Ref           string `help:"With this reference." xor:"name"`
	WAMID         string `name:"wamid" help:"With this id of Meta's. Not found any more after the state read or played." xor:"name"`
	Recipient     string `help:"To this recipient: a phone number with its country code. Needs the index of recipients." xor:"name"`
	PhoneNumberID string `help:"From this phone number id. Default: all numbers of the API key." placeholder:"ID"`
	apiFlags
}

// Validate is called when the command line was read.
func (f findCmd) Validate() error {
	if f.Key+f.Ref+f.WAMID+f.Recipient == "" {
		return errors.New("nothing to search for: give --key, --ref, --wamid or --recipient")
	}
	return nil
}

// Run finds messages by one of their names: the latest 100.
func (f findCmd) Run(ctx context.Context) error {
	ask := map[string]string{}
	for name, value := range map[string]string{"key": f.Key, "ref": f.Ref, "wamid": f.WAMID, "recipient": f.Recipient, "phone_number_id": f.PhoneNumberID} {
		if value != "" {
			ask[name] = value
		}
	}
	return f.ask(ctx, "POST", "/v1/messages/search", ask, read(func(t table, page struct{ Messages []client.Record }) {
		t.row(listHead...)
		for _, r := range page.Messages {
			t.row(listRow(r)...)
		}
	}))
}
