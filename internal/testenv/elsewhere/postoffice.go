package elsewhere

import (
	"io"
	"mime/quotedprintable"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// PostOffice is an SMTP server that keeps what it is given.
type PostOffice struct {
	// Address is where it listens.
	Address string
	mu      sync.Mutex // guards what follows
	letters []Letter
	broken  bool
}

// Letter is a mail, whose text begins with its header.
type Letter struct{ To, Text string }

// NewPostOffice is a post office that closes when the test ends.
func NewPostOffice(t testing.TB) *PostOffice {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	office := &PostOffice{Address: l.Addr().String()}
	server := smtp.NewServer(office)
	server.Domain = "mail.test.local"
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return office
}

// NewSession is for the server that calls it.
func (p *PostOffice) NewSession(*smtp.Conn) (smtp.Session, error) { return &delivery{office: p}, nil }

type delivery struct {
	office *PostOffice
	to     string
}

func (d *delivery) Mail(string, *smtp.MailOptions) error { return nil }
func (d *delivery) Reset()                               {}
func (d *delivery) Logout() error                        { return nil }
func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.to = to
	return nil
}

func (d *delivery) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	header, body, _ := strings.Cut(string(raw), "\r\n\r\n")
	text, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(body)))
	if err != nil {
		return err
	}
	d.office.mu.Lock()
	defer d.office.mu.Unlock()
	if d.office.broken {
		return &smtp.SMTPError{Code: 451, Message: "not now"}
	}
	d.office.letters = append(d.office.letters, Letter{d.to, header + "\n\n" + string(text)})
	return nil
}

// Take returns the letters that came since the last time.
func (p *PostOffice) Take() []Letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	letters := p.letters
	p.letters = nil
	return letters
}

// Break has it take nothing, or again.
func (p *PostOffice) Break(broken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = broken
}
