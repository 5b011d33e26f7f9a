package app

import (
	"context"
	"net"
	"net/http"

	"sluice/client"
	"sluice/internal/canary"
	"sluice/internal/config"
	"sluice/internal/httpapi"
)

// canaryKeyName is the name of the API key of canaries. No configured API key can have it.
const canaryKeyName = "sluice:canary"

// canaryKey makes an API key for the canaries, which only this process knows; none: there are no canaries.
func canaryKey(canaries []config.Canary) (token string, keys []httpapi.Key) {
	if len(canaries) == 0 {
		return "", nil
	}
	token = httpapi.NewToken()
	key := httpapi.Key{Name: canaryKeyName, Hash: httpapi.HashToken(token), Scopes: []string{config.ScopeSend, config.ScopeRead}}
	for _, c := range canaries {
		key.Numbers = append(key.Numbers, c.Number)
	}
	return token, []httpapi.Key{key}
}

// canaries adds the part that sends the canaries, if there are any. It calls the API of this producer at its own address.
func (p *Program) canaries(canaries []config.Canary, token string) {
	if len(canaries) == 0 {
		return
	}
	var all []canary.Canary
	for _, c := range canaries {
		all = append(all, canary.Canary{PhoneNumberID: c.Number, Content: canary.Content(string(c.To), c.Template, c.Text), Every: c.Every, Within: c.Within})
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, p.addr)
	}}
	runner := canary.New(canary.Options{
		API:      client.New("http://producer", token, client.WithHTTPClient(&http.Client{Transport: transport})),
		Canaries: all, Offset: p.DB.ClockOffset, Log: p.Log, Registerer: p.Registry,
	})
	p.Work(func(ctx context.Context) error {
		defer transport.CloseIdleConnections()
		return runner.Run(ctx)
	})
}
