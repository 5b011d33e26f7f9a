package main

import (
	"context"
	"fmt"
	"mime"
	"os"
	"path/filepath"

	"sluice/client"
)

type mediaCmd struct {
	Upload mediaUploadCmd `cmd:"" help:"Upload a file to Meta, unless it was uploaded from the number in the last 22 days, and print the media id with which messages can name it."`
}

type mediaUploadCmd struct {
	File   string `arg:"" help:"The file."`
	From   string `env:"PHONE_NUMBER_ID" required:"" help:"Meta's phone number id of the number from which messages name the file." placeholder:"ID"`
	Type   string `help:"Its media type, like image/png. Default: by the end of its name." placeholder:"TYPE"`
	API    string `default:"http://127.0.0.1:8080" env:"SLUICE_API" help:"Base URL of the API."`
	APIKey string `env:"SLUICE_API_KEY" required:"" help:"API key. Set the environment variable rather than the flag."`
}

// Run uploads a file.
func (c mediaUploadCmd) Run(ctx context.Context) error {
	kind := c.Type
	if kind == "" {
		if kind = mime.TypeByExtension(filepath.Ext(c.File)); kind == "" {
			return fmt.Errorf("--type: the end of the name of %s says no media type: give it", c.File)
		}
	}
	file, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer file.Close()
	id, err := client.New(c.API, c.APIKey).Upload(ctx, c.From, c.File, kind, file)
	if err == nil {
		fmt.Println(id)
	}
	return err
}
