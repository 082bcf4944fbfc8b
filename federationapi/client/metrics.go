package client

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// requestCount counts by what came of the request: answered, refused by the other
// server, or unreachable.
var requestCount = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "hearth_federation_requests_total", Help: "Requests to other servers, by result."}, []string{"result"})

var (
	countAnswered    = requestCount.WithLabelValues("answered")
	countRefused     = requestCount.WithLabelValues("refused")
	countUnreachable = requestCount.WithLabelValues("unreachable")
)
