package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"path/filepath"
	"strings"
)

// Upload uploads a file to Meta from a number, unless it was uploaded from it in the last 22 days, and returns the media id with which messages
// of the number can name it for that time: "sha256:" and the hash of the content. mime is its media type, like "image/png". It reads the
// file twice. An upload is not repeated after a failure: call it again.
func (c *Client) Upload(ctx context.Context, number, name, mime string, file io.ReadSeeker) (id string, err error) {
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", fmt.Errorf("read the file: %w", err)
	}
	hash, from := hex.EncodeToString(h.Sum(nil)), "?"+url.Values{"phone_number_id": {number}}.Encode()
	id = "sha256:" + hash
	find := request{method: http.MethodGet, path: "/v1/media/" + hash + from}
	err = c.do(ctx, find, nil)
	if p, is := errors.AsType[*Problem](err); !is || p.Code != "media_not_uploaded" {
		return id, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("read the file: %w", err)
	}
	body, to := io.Pipe()
	form := multipart.NewWriter(to)
	written := make(chan struct{})
	go func() {
		defer close(written)
		to.CloseWithError(writeForm(form, name, mime, file))
	}()
	defer func() { // the caller may close the file then
		body.Close()
		<-written
	}()
	// Meta serves a version that has expired by the oldest one that is left.
	resp, err := c.roundTrip(ctx, http.MethodPost, "/v25.0/"+url.PathEscape(number)+"/media", form.FormDataContentType(), body)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && resp.StatusCode >= 300 {
		p := problemOf(resp, answer)
		var meta struct{ Error struct{ Message string } }
		if json.Unmarshal(answer, &meta) == nil && meta.Error.Message != "" { // an error in Meta's form
			p.Detail = meta.Error.Message
		}
		err = p
	}
	if err == nil {
		err = c.do(ctx, find, nil) // Sluice remembers it
	}
	return id, err
}

// writeForm writes Meta's form of an upload.
func writeForm(form *multipart.Writer, name, mime string, file io.Reader) error {
	err := errors.Join(form.WriteField("messaging_product", "whatsapp"), form.WriteField("type", mime))
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace(filepath.Base(name))
	part, failed := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="file"; filename="` + quoted + `"`}, "Content-Type": {mime},
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	_, err = io.Copy(part, file)
	return errors.Join(err, form.Close())
}
