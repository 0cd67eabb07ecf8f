package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A Quarantine stands after the records were restored, until it is released.
type Quarantine struct {
	Backup time.Time `json:"backup"` // the records are as they were then
	Since  time.Time `json:"since"`
	By     string    `json:"by"`
	Lists  []struct {
		Key    string    `json:"key"`
		Number string    `json:"number"`
		From   string    `json:"from"`
		At     time.Time `json:"at"`
	} `json:"lists"`
	Missing []struct {
		Authority string `json:"authority"`
		Key       string `json:"key"`
	} `json:"missing"` // CA keys whose last published CRL is not known
}

// Release ends the quarantine.
func (c *Client) Release(ctx context.Context) error {
	_, err := c.do(ctx, call{method: "POST", path: "/quarantine/release", body: struct{}{}, admin: true}, nil)
	return err
}

// Backup writes a backup of all records to w. It takes as long as it takes;
// Options.Timeout does not count. What arrived is whole only if its own end says
// so: chancery backup verify looks.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	req, err := c.request(ctx, call{method: "POST", path: "/backup", body: struct{}{}, admin: true})
	if err != nil {
		return err
	}
	doer := *c.http
	if c.local != nil {
		doer = *c.local
	}
	doer.Timeout = 0
	resp, err := doer.Do(req)
	if err != nil {
		return explain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return err
		}
		return problem(resp, body)
	}
	n, err := io.Copy(w, resp.Body)
	if err == nil && resp.ContentLength >= 0 && n != resp.ContentLength {
		err = errors.New("not all of it came")
	}
	if err != nil {
		return fmt.Errorf("the backup was cut off after %d octets: %w", n, err)
	}
	return nil
}
