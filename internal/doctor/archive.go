package doctor

import (
	"context"

	"sluice/internal/archive"
)

// archive checks that the workers can write to the archive, if there is one.
func (v *visit) archive(ctx context.Context) {
	a := v.Worker.Archive
	if a.URL == "" {
		return
	}
	f := found(OK, "the database can be written", "")
	if err := archive.Check(ctx, string(a.URL)); err != nil {
		f = found(Fail, err.Error(), "see docs/archive.md. Sending goes on, and the events wait until events.retention")
	}
	v.add("archive", "", f)
}
