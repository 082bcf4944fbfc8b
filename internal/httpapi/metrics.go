package httpapi

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	requestCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "hearth_http_requests_total", Help: "Requests answered, by route and status."},
		[]string{"method", "route", "status"})
	requestSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "hearth_http_request_seconds", Help: "Time to answer a request, long polls included.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 13)},
		[]string{"method", "route"})
	inFlight = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "hearth_http_requests_in_flight", Help: "Requests being answered, waiting long polls included."})
	parkedRequests = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "hearth_http_requests_parked", Help: "Long polls that wait without a goroutine."})
	rateLimited = promauto.NewCounter(prometheus.CounterOpts{
		Name: "hearth_http_rate_limited_total", Help: "Requests refused with M_LIMIT_EXCEEDED."})
	panics = promauto.NewCounter(prometheus.CounterOpts{
		Name: "hearth_http_panics_total", Help: "Handlers that panicked."})
)

// routeMetrics are the metrics of one route, looked up once.
type routeMetrics struct {
	count   *prometheus.CounterVec
	ok      prometheus.Counter
	seconds prometheus.Observer
}

func newRouteMetrics(method, template string) *routeMetrics {
	labels := prometheus.Labels{"method": method, "route": template}
	count := requestCount.MustCurryWith(labels)
	return &routeMetrics{count: count, ok: count.WithLabelValues("200"), seconds: requestSeconds.With(labels)}
}

func (m *routeMetrics) observe(status int, took time.Duration) {
	m.seconds.Observe(took.Seconds())
	if status == 200 {
		m.ok.Inc()
		return
	}
	m.count.WithLabelValues(strconv.Itoa(status)).Inc()
}
