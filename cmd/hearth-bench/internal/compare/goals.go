package compare

// row is a figure that the comparison is about. The rest stand in the table of
// all figures.
type row struct {
	scenario, figure string
	higher           bool // is better
}

var rows = []row{
	{"send", "rate", true},
	{"send", "p99", false},
	{"send", "CPU/message", false},
	{"fanout", "last client p99", false},
	{"fanout", "delivered", true},
	{"idle", "server memory/connection", false},
	{"idle", "server CPU", false},
	{"sync-first", "time", false},
	{"sync-empty", "rate", true},
	{"messages", "rate", true},
	{"bigroom", "members", false},
	{"bigroom", "joined_members", false},
	{"bigroom", "state", false},
	{"bigroom", "join", false},
	{"createroom", "rate", true},
	{"media", "rate", true},
	{"media", "p99", false},
	{"media", "CPU/file", false},
	{"media", "server memory, most", false},
	{"mixed", "memory together", false},
	{"mixed", "delivery p99", false},
	{"overload", "accepted", true},
	{"overload", "accepted p99", false},
	{"overload", "recovery", false},
	{"start", "time", false},
}

// goal is what Hearth wants to reach: a ratio to Dendrite, always stated so
// that more is better, or a bound of its own.
type goal struct {
	ratio float64 // at least, if not 0
	bound float64 // at least or at most, as is better
}

// goals by scenario, case and figure, for the default sizes.
var goals = map[[3]string]goal{
	{"send", "1 in rooms of their own", "rate"}:                  {ratio: 10},
	{"send", "8 in rooms of their own", "rate"}:                  {ratio: 18},
	{"send", "32 in rooms of their own", "rate"}:                 {ratio: 20},
	{"send", "32 in one room", "rate"}:                           {ratio: 60},
	{"send", "32 in rooms of their own", "p99"}:                  {ratio: 15},
	{"send", "32 in rooms of their own", "CPU/message"}:          {ratio: 25},
	{"fanout", "100 clients, 10 messages/s", "last client p99"}:  {bound: 50},
	{"fanout", "500 clients, 10 messages/s", "last client p99"}:  {bound: 120},
	{"fanout", "1000 clients, 10 messages/s", "last client p99"}: {bound: 250},
	{"fanout", "500 clients, full speed", "delivered"}:           {bound: 20_000},
	{"idle", "2000 connections", "server memory/connection"}:     {bound: 16},
	{"idle", "2000 connections", "server CPU"}:                   {bound: 0.5},
	{"sync-first", "100 rooms of 50 messages", "time"}:           {ratio: 15},
	{"sync-first", "500 rooms of 50 messages", "time"}:           {ratio: 15},
	{"sync-empty", "user in 100 rooms, 1 at a time", "rate"}:     {ratio: 30},
	{"sync-empty", "user in 100 rooms, 8 at a time", "rate"}:     {ratio: 30},
	{"messages", "20000 events backwards, 100 a page", "rate"}:   {ratio: 5},
	{"bigroom", "2000 members", "members"}:                       {ratio: 5},
	{"bigroom", "2000 members", "joined_members"}:                {ratio: 5},
	{"bigroom", "2000 members", "state"}:                         {ratio: 5},
	{"bigroom", "2000 members", "join"}:                          {ratio: 5},
	{"createroom", "8 at a time", "rate"}:                        {ratio: 10},
	{"mixed", "1000 people, 100 messages/s", "memory together"}:  {bound: 512},
	{"mixed", "1000 people, 100 messages/s", "delivery p99"}:     {bound: 100},
	{"start", "the server alone", "time"}:                        {bound: 200},
	{"start", "with its private PostgreSQL", "time"}:             {bound: 2000},
}
