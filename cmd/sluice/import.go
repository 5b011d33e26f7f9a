package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"sluice/internal/client"
)

type importCmd struct {
	API    string `default:"http://127.0.0.1:8080" env:"SLUICE_API" help:"Base URL of the API."`
	APIKey string `env:"SLUICE_API_KEY" required:"" help:"API key; better in the environment than on the command line."`
	File   string `arg:"" help:"File with what POST /v1/messages takes on each line, - for standard input."`
	IDs    bool   `name:"ids" help:"Print each line's number with the id of its message."`
}

// Run sends the lines, reports on standard error which were refused and why, and prints how many
// were accepted. With a key on each line the file can be imported again after a break.
func (c importCmd) Run(ctx context.Context) error {
	in := os.Stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	api := &client.Client{Base: c.API, Key: c.APIKey}
	accepted, duplicates, refused, err := c.lines(ctx, api, in, os.Stdout, os.Stderr)
	fmt.Printf("%d accepted, %d accepted before, %d refused\n", accepted, duplicates, refused)
	if err == nil && refused > 0 {
		err = errors.New("not all lines were accepted")
	}
	return err
}

func (c importCmd) lines(ctx context.Context, api *client.Client, in io.Reader, out, wrong io.Writer) (accepted, duplicates, refused int, err error) {
	err = api.Batch(ctx, in, func(v client.Verdict) error {
		switch {
		case v.Problem != nil:
			refused++
			fmt.Fprintf(wrong, "line %d: %v\n", v.Line, v.Problem)
			return nil
		case v.Duplicate:
			duplicates++
		default:
			accepted++
		}
		if c.IDs {
			fmt.Fprintf(out, "%d %s\n", v.Line, v.ID)
		}
		return nil
	})
	return accepted, duplicates, refused, err
}
