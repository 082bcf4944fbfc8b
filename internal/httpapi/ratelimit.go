package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// Limit is a budget: PerSecond requests on average, Burst at once.
type Limit struct {
	PerSecond float64
	Burst     int
}

// maxLimiterKeys bounds how many users or addresses a Limiter remembers; who is
// pushed out starts with a full budget again.
const maxLimiterKeys = 20_000

// Limiter gives every key the same budget. It is safe for concurrent use.
type Limiter struct {
	limit Limit
	keys  *lru.Cache[string, *rate.Limiter]
}

// NewLimiter returns a limiter for which nothing has been taken yet.
func NewLimiter(limit Limit) *Limiter {
	keys, err := lru.New[string, *rate.Limiter](maxLimiterKeys)
	if err != nil {
		panic(err) // only for a size that isn't positive
	}
	return &Limiter{limit: limit, keys: keys}
}

// Take draws one request from the key's budget, or returns M_LIMIT_EXCEEDED. A
// nil Limiter allows everything.
func (l *Limiter) Take(key string) error {
	if l == nil {
		return nil
	}
	bucket, ok := l.keys.Get(key)
	if !ok {
		bucket = rate.NewLimiter(rate.Limit(l.limit.PerSecond), l.limit.Burst)
		if earlier, existed, _ := l.keys.PeekOrAdd(key, bucket); existed {
			bucket = earlier
		}
	}
	reservation := bucket.Reserve()
	if delay := reservation.Delay(); delay > 0 {
		reservation.Cancel()
		rateLimited.Inc()
		return LimitExceeded(delay)
	}
	return nil
}

// Charge draws on the budget of a class, or returns M_LIMIT_EXCEEDED. It is for
// handlers of routes without a Rate, some of whose requests cost more than others.
func Charge(r *http.Request, u *Requester, class RateClass) error {
	w, ok := r.Context().Value(requestKey{}).(*response)
	if !ok {
		return nil
	}
	return w.server.charge(r, u, w.server.limits[class])
}

func (s *Server) charge(r *http.Request, u *Requester, limiter *Limiter) error {
	switch {
	case limiter == nil:
		return nil
	case u != nil:
		return limiter.Take(u.UserID)
	}
	return limiter.Take(addressKey(s.ClientIP(r)))
}

// ClientIP returns the address of the client. What a proxy says of it is believed
// only of loopback and Options.TrustedProxies.
func (s *Server) ClientIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && s.trusts(host); i-- {
		addr, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		host = addr.Unmap().String()
	}
	return host
}

func (s *Server) trusts(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host == "@" || host == "" // a unix socket
	}
	addr = addr.Unmap()
	if addr.IsLoopback() {
		return true
	}
	for _, p := range s.o.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// addressKey is what an address is limited by: whoever has one IPv6 address
// commonly has its whole /64.
func addressKey(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil || addr.Is4() {
		return ip
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}
