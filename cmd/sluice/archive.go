package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"sluice/internal/archive"
	"sluice/internal/secrets"
)

type archiveCmd struct {
	Export archiveExportCmd `cmd:"" help:"Print what the archive has about a recipient, one JSON object per line."`
	Delete archiveDeleteCmd `cmd:"" help:"Delete what the archive has about a recipient. Without --confirm it only counts."`
}

// recipientFlags name a recipient without showing it to other users of the machine.
type recipientFlags struct {
	Config string `env:"SLUICE_CONFIG" help:"Configuration file, for the archive and the secrets key." placeholder:"FILE"`
	To     string `required:"" help:"File with the recipient: a phone number with its country code, or a business-scoped user id. - reads it from the standard input. It is no argument because other users of the machine can see arguments." placeholder:"FILE"`
}

var recipientPattern = regexp.MustCompile(`^(\+?[1-9][0-9]{5,14}|[A-Z]{2}(\.ENT)?\.[A-Za-z0-9]{1,128})$`)

// open returns the archive, and the recipient in the file.
func (f recipientFlags) open(env getenv, in io.Reader) (*archive.Recipients, string, error) {
	to, err := readRecipient(f.To, in)
	if err != nil {
		return nil, "", err
	}
	c, _, err := loadArchive(f.Config, env)
	if err != nil {
		return nil, "", err
	}
	r, err := archive.NewRecipients(string(c.URL), secrets.Hasher(string(c.Key), archive.RecipientPurpose))
	return r, to, err
}

// readRecipient returns the recipient in the first line of a file; -: of in.
func readRecipient(name string, in io.Reader) (string, error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return "", errors.New("--to: cannot open the file with the recipient. Give the name of a file, or - for the standard input") // the error would quote a number
		}
		defer file.Close()
		in = file
	}
	text, err := bufio.NewReader(io.LimitReader(in, 1024)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("--to: %w", err)
	}
	to := strings.TrimSpace(text)
	if !recipientPattern.MatchString(to) {
		return "", errors.New("--to: the first line is neither a phone number with its country code, in digits, nor a business-scoped user id")
	}
	return to, nil
}

type archiveExportCmd struct{ recipientFlags }

// Run prints what the archive has about a recipient.
func (c archiveExportCmd) Run(ctx context.Context, env getenv) error {
	return c.run(ctx, env, os.Stdin, os.Stdout)
}

func (c archiveExportCmd) run(ctx context.Context, env getenv, in io.Reader, out io.Writer) error {
	r, to, err := c.open(env, in)
	if err != nil {
		return err
	}
	e := json.NewEncoder(out)
	return r.Export(ctx, to, func(event archive.Event) error { return e.Encode(event) })
}

type archiveDeleteCmd struct {
	Confirm bool `help:"Delete, and do not only count."`
	recipientFlags
}

// Run deletes what the archive has about a recipient, or counts it.
func (c archiveDeleteCmd) Run(ctx context.Context, env getenv) error {
	return c.run(ctx, env, os.Stdin, os.Stdout)
}

func (c archiveDeleteCmd) run(ctx context.Context, env getenv, in io.Reader, out io.Writer) error {
	r, to, err := c.open(env, in)
	if err != nil {
		return err
	}
	if !c.Confirm {
		n := 0
		if err := r.Export(ctx, to, func(archive.Event) error { n++; return nil }); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "%d rows would be deleted. Run it again with --confirm.\n", n)
		return err
	}
	n, err := r.Delete(ctx, to)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%d rows deleted.\n", n)
	return err
}
