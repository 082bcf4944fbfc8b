// Package mail sends mail to people by an SMTP server.
package mail

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// timeout bounds the sending of one mail.
const timeout = 20 * time.Second

// maxSending bounds the mails that are sent at the same time.
const maxSending = 8

// Options of New.
type Options struct {
	// Server is the SMTP server, host:port.
	Server string
	// TLS is starttls, tls (from the first byte) or none.
	TLS string
	// Username is "" for a server that asks for no password.
	Username, Password string
	// From is the sender, such as Example <matrix@example.org>.
	From string
}

// Mailer sends mail. It is safe for concurrent use.
type Mailer struct {
	o     Options
	host  string
	opts  []gomail.Option
	slots chan struct{}
}

// New checks the options; it doesn't connect.
func New(o Options) (*Mailer, error) {
	host, port, err := net.SplitHostPort(o.Server)
	if err != nil {
		return nil, fmt.Errorf("reading the mail server's address: %w", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("reading the mail server's port: %w", err)
	}
	m := &Mailer{o: o, host: host, slots: make(chan struct{}, maxSending)}
	m.opts = []gomail.Option{gomail.WithPort(number), gomail.WithTimeout(timeout)}
	switch o.TLS {
	case "tls":
		m.opts = append(m.opts, gomail.WithSSL())
	case "none":
		m.opts = append(m.opts, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		m.opts = append(m.opts, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if o.Username != "" {
		m.opts = append(m.opts, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(o.Username), gomail.WithPassword(o.Password))
	}
	if err := gomail.NewMsg().From(o.From); err != nil {
		return nil, fmt.Errorf("reading the sender's address: %w", err)
	}
	return m, nil
}

// Send sends one mail of plain text and returns when the server has taken it.
func (m *Mailer) Send(ctx context.Context, to, subject, text string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		return fmt.Errorf("waiting to send mail: %w", ctx.Err())
	}
	msg := gomail.NewMsg()
	if err := msg.From(m.o.From); err != nil {
		return fmt.Errorf("setting the sender: %w", err)
	}
	if err := msg.To(to); err != nil {
		return fmt.Errorf("setting the recipient: %w", err)
	}
	msg.Subject(subject)
	msg.SetDate()
	msg.SetMessageID()
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, text)
	client, err := gomail.NewClient(m.host, m.opts...)
	if err != nil {
		return fmt.Errorf("preparing to send mail: %w", err)
	}
	if err := client.DialAndSendWithContext(ctx, msg); err != nil {
		return fmt.Errorf("sending mail: %w", err)
	}
	return nil
}
