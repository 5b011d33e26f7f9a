package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"sluice/internal/httpapi"
)

type keyCmd struct{}

// Run prints a new API key, once, and what the configuration needs to know of it.
func (keyCmd) Run() error {
	token := httpapi.NewToken()
	fmt.Printf("key:    %s\nsha256: %s\n", token, httpapi.HashToken(token))
	return nil
}

type healthCmd struct {
	URL string `arg:"" help:"URL to call, for example http://127.0.0.1:9101/readyz."`
}

func (h healthCmd) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", h.URL, resp.Status)
	}
	return nil
}
