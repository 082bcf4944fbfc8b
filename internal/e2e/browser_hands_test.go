package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// These are the hands of somebody before a browser. They find everything by what it is and how it is
// called, as screen readers do: what has no name can't be used.

func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.t.Fatalf("%s at %s: %v", command.Method, b.where(), err)
	}
	return result
}

// find waits for what has a role and a name.
func (b *tab) find(role, name string) cdp.BackendNodeID {
	b.t.Helper()
	// A tab behind others that were opened since isn't drawn, and what is in it isn't told.
	call(b, cdppage.BringToFront, cdp.Empty{})
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		document := call(b, runtime.Evaluate, runtime.EvaluateParams{Expression: "document"})
		found := call(b, accessibility.QueryAXTree, accessibility.QueryAXTreeParams{
			ObjectID: document.Result.ObjectID, Role: role, AccessibleName: name,
		})
		for _, node := range found.Nodes {
			if !node.Ignored {
				return node.BackendDOMNodeID
			}
		}
	}
	b.t.Fatalf("%s has no %s with the name %q:\n%s", b.where(), role, name, b.text())
	return 0
}

// click is a click with the mouse in the middle of what has a role and a name.
func (b *tab) click(role, name string) chromedp.Action[chromedp.Void] {
	b.t.Helper()
	node := b.find(role, name)
	call(b, dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{BackendNodeID: node})
	quads := call(b, dom.GetContentQuads, dom.GetContentQuadsParams{BackendNodeID: node}).Quads
	if len(quads) == 0 || len(quads[0]) != 8 {
		b.t.Fatalf("the %s %q at %s is nowhere to be seen", role, name, b.where())
	}
	corners := quads[0]
	return chromedp.MouseClickXY((corners[0]+corners[4])/2, (corners[1]+corners[5])/2)
}

// press presses a button that leads to a page.
func (b *tab) press(name string) { b.t.Helper(); b.clickTo("button", name) }

// follow follows a link.
func (b *tab) follow(name string) { b.t.Helper(); b.clickTo("link", name) }

func (b *tab) clickTo(role, name string) {
	b.t.Helper()
	click := b.click(role, name)
	b.loads("clicking the "+role+" "+name, func(ctx context.Context) (*network.Response, error) { return chromedp.RunResponse(ctx, click) })
}

// tick ticks a box.
func (b *tab) tick(name string) {
	b.t.Helper()
	b.do("ticking "+name, b.click("checkbox", name))
}

// fill writes into a field what is to stand there.
func (b *tab) fill(name, text string) {
	b.t.Helper()
	field := call(b, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: b.find("textbox", name)})
	call(b, runtime.CallFunctionOn, runtime.CallFunctionOnParams{
		ObjectID: field.Object.ObjectID, FunctionDeclaration: "function() { this.focus(); this.select(); }",
	})
	call(b, input.InsertText, input.InsertTextParams{Text: text})
}

// holds is what stands in a field.
func (b *tab) holds(name string) string {
	b.t.Helper()
	field := call(b, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: b.find("textbox", name)})
	byValue := true
	value := call(b, runtime.CallFunctionOn, runtime.CallFunctionOnParams{
		ObjectID: field.Object.ObjectID, FunctionDeclaration: "function() { return this.value; }", ReturnByValue: &byValue,
	})
	return text(value.Result.Value)
}

// evaluates waits until an expression in the page is something.
func (b *tab) evaluates(expression, wanted string) {
	b.t.Helper()
	was := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		result := call(b, runtime.Evaluate, runtime.EvaluateParams{Expression: "String(" + expression + ")"})
		if was = text(result.Result.Value); was == wanted {
			return
		}
	}
	b.t.Fatalf("%s at %s is %q instead of %q", expression, b.where(), was, wanted)
}

// text is a string in JSON, "" for what is none.
func text(raw []byte) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// named are the roles of what must be called something.
var named = []string{"textbox", "checkbox", "button", "link", "combobox", "radio", "heading", "RootWebArea"}

// audit makes sure that somebody who can't see the page can use it, and who has a small screen only.
func (b *tab) audit() {
	b.t.Helper()
	roles := map[string]int{}
	for _, node := range call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		if node.Ignored || node.Role == nil {
			continue
		}
		role := text(node.Role.Value)
		roles[role]++
		for _, r := range named {
			if r == role && (node.Name == nil || strings.TrimSpace(text(node.Name.Value)) == "") {
				b.watch.fault("%s has a %s without a name", b.where(), role)
			}
		}
	}
	if roles["heading"] == 0 {
		b.watch.fault("%s has no heading", b.where())
	}
	ctx, cancel := b.limited()
	defer cancel()
	const measure = `[document.documentElement.lang, document.documentElement.scrollWidth - document.documentElement.clientWidth + "", innerWidth + ""]`
	measured, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](measure))
	if err != nil {
		b.t.Fatalf("measuring %s: %v", b.where(), err)
	}
	if measured[0] == "" || measured[1] != "0" || measured[2] != "360" {
		b.watch.fault("%s: the language, what has to be scrolled to the side, and the width are %q", b.where(), measured)
	}
}
