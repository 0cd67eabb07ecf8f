package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"chancery/frontends/native/client"
)

// maxCSR is far more than a certification request has.
const maxCSR = 1 << 20

func submit(o *connection) *cobra.Command {
	var profile, authority, id string
	var wait bool
	var timeout time.Duration
	c := &cobra.Command{
		Use: "submit FILE", Short: "Ask for a certificate with a certification request (PEM or DER; - is stdin)", Args: Args(1, "one file, or - for stdin"),
		Long: `Ask for a certificate with a certification request. The chain is printed on
stdout, the certificate first. If an officer has to look at the request, its id
is printed on stderr and the exit code is 3: retrieve it later, or say --wait.`,
		RunE: func(c *cobra.Command, a []string) error {
			csr, err := readFile(a[0], c.InOrStdin())
			if err != nil {
				return err
			}
			cl, err := o.client()
			if err != nil {
				return err
			}
			ctx, cancel := within(c.Context(), timeout)
			defer cancel()
			r, err := cl.Submit(ctx, client.Submission{CSR: csr, Profile: profile, Authority: authority, Key: id})
			if err == nil && wait && r.Status == client.StatusPending {
				fmt.Fprintln(c.ErrOrStderr(), "pending", r.ID)
				r, err = cl.Wait(ctx, r.ID)
			}
			return o.result(c, r, err)
		},
	}
	c.Flags().StringVar(&profile, "profile", "service", "profile to ask for")
	c.Flags().StringVar(&authority, "authority", "", "authority to ask for")
	c.Flags().StringVar(&id, "idempotency-key", "", "name of this request: the same again gets the same certificate")
	c.Flags().BoolVar(&wait, "wait", false, "wait until an officer decided")
	c.Flags().DurationVar(&timeout, "timeout", 0, "wait at most so long")
	return c
}

func retrieve(o *connection) *cobra.Command {
	var wait bool
	var timeout time.Duration
	c := &cobra.Command{
		Use: "retrieve ID", Short: "Get what became of a request", Args: Args(1, "the id of a request"),
		RunE: func(c *cobra.Command, a []string) error {
			cl, err := o.client()
			if err != nil {
				return err
			}
			ctx, cancel := within(c.Context(), timeout)
			defer cancel()
			r, err := cl.Retrieve(ctx, a[0])
			if err == nil && wait && r.Status == client.StatusPending {
				r, err = cl.Wait(ctx, a[0])
			}
			return o.result(c, r, err)
		},
	}
	c.Flags().BoolVar(&wait, "wait", false, "wait until an officer decided")
	c.Flags().DurationVar(&timeout, "timeout", 0, "wait at most so long")
	return c
}

func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// result prints what the requester gets.
func (o *connection) result(c *cobra.Command, r *client.Result, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && r != nil {
		err = nil // it still waits
	}
	if err != nil {
		return told(err)
	}
	switch r.Status {
	case client.StatusPending:
		if o.json {
			if err := o.show(c.OutOrStdout(), r, ""); err != nil {
				return err
			}
		}
		return &ExitError{exitPending, "pending " + r.ID}
	case client.StatusDenied:
		return &ExitError{exitFailed, fmt.Sprintf("chancery: denied (%s): %s", plain(r.Reason), plain(r.Detail))}
	}
	return o.show(c.OutOrStdout(), r, r.Chain)
}

// readFile reads a file, or stdin for a hyphen.
func readFile(name string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxCSR+1))
	if err == nil && len(b) > maxCSR {
		err = fmt.Errorf("%s is longer than any certification request", name)
	}
	if err == nil && len(b) == 0 {
		err = fmt.Errorf("%s is empty", name)
	}
	return b, err
}
