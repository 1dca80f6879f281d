package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strings"

	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/model/parsers"
	"github.com/ollama/ollama/model/renderers"
)

type msg struct {
	Role, Content, Thinking string
	Images                  int
	ToolName                string `json:"tool_name"`
	ToolCallID              string `json:"tool_call_id"`
	ToolCalls               []struct {
		ID, Name  string
		Arguments api.ToolCallFunctionArguments
	} `json:"tool_calls"`
}
type conv struct {
	Messages []msg
	Tools    []json.RawMessage
}

func tools(raw []json.RawMessage) []api.Tool {
	var out []api.Tool
	for _, r := range raw {
		var f api.ToolFunction
		if err := json.Unmarshal(r, &f); err != nil {
			panic(err)
		}
		out = append(out, api.Tool{Type: "function", Function: f})
	}
	return out
}
func messages(in []msg) []api.Message {
	var out []api.Message
	for _, m := range in {
		o := api.Message{Role: m.Role, Content: m.Content, Thinking: m.Thinking, ToolName: m.ToolName, ToolCallID: m.ToolCallID}
		for i := 0; i < m.Images; i++ {
			o.Images = append(o.Images, api.ImageData("x"))
		}
		for i, c := range m.ToolCalls {
			o.ToolCalls = append(o.ToolCalls, api.ToolCall{ID: c.ID, Function: api.ToolCallFunction{Index: i, Name: c.Name, Arguments: c.Arguments}})
		}
		out = append(out, o)
	}
	return out
}

var names = strings.Fields("qwen3-coder qwen3-vl-instruct qwen3-vl-thinking qwen3.5 qwen3.8 ornith cogito deepseek3.1 olmo3 olmo3.1 olmo3-think olmo3-32b-think nemotron-3-nano nemotron-3.5-nano gemma4 gemma4-small gemma4-large functiongemma glm-4.7 glm-ocr lfm2 lfm2-thinking laguna poolside-v1 cohere glimmer")

func thinkOf(t string) *api.ThinkValue {
	switch t {
	case "on":
		return &api.ThinkValue{Value: true}
	case "off":
		return &api.ThinkValue{Value: false}
	case "low", "medium", "high":
		return &api.ThinkValue{Value: t}
	}
	return nil
}

func main() {
	renderers.RenderImgTags = true
	if os.Args[1] == "render" {
		b, _ := os.ReadFile(os.Args[2])
		var convs map[string]conv
		if err := json.Unmarshal(b, &convs); err != nil {
			panic(err)
		}
		out := map[string]map[string]map[string]string{}
		for _, name := range names {
			out[name] = map[string]map[string]string{}
			for cn, c := range convs {
				out[name][cn] = map[string]string{}
				for _, t := range []string{"unset", "on", "off", "low", "medium", "high"} {
					p, err := renderers.RenderWithRenderer(name, messages(c.Messages), tools(c.Tools), thinkOf(t))
					if name == "qwen3-coder" && len(c.Tools) > 1 {
						for i := 0; i < 3000; i++ {
							if q, _ := renderers.RenderWithRenderer(name, messages(c.Messages), tools(c.Tools), thinkOf(t)); q < p {
								p = q
							}
						}
					}
					if err != nil {
						p = "\x00" + err.Error()
					}
					out[name][cn][t] = p
				}
			}
		}
		enc := json.NewEncoder(os.Stdout)
		enc.SetEscapeHTML(false)
		enc.Encode(out)
		return
	}
	// parse FILE: [{parser, think, last, tools, text}] -> results for whole and random pieces
	b, _ := os.ReadFile(os.Args[2])
	var cases []struct {
		Parser, Think, Text string
		Last                *msg
		Tools               []json.RawMessage
	}
	if err := json.Unmarshal(b, &cases); err != nil {
		panic(err)
	}
	type result struct {
		Content, Thinking string
		Calls             []json.RawMessage
		Error             string
	}
	rng := rand.New(rand.NewSource(1))
	var out [][]result
	for _, c := range cases {
		var rs []result
		for try := 0; try < 4; try++ {
			p := parsers.ParserForName(c.Parser)
			if c.Parser == "harmony" { p = parsers.ParserForName("harmony") }
			if p == nil {
				panic(c.Parser)
			}
			var last *api.Message
			if c.Last != nil {
				l := messages([]msg{*c.Last})
				last = &l[0]
			}
			p.Init(tools(c.Tools), last, thinkOf(c.Think))
			var r result
			runes := []rune(c.Text)
			feed := func(s string, done bool) {
				defer func() {
					if e := recover(); e != nil {
						r.Error = fmt.Sprint("panic ", e)
					}
				}()
				content, thinking, calls, err := p.Add(s, done)
				r.Content += content
				r.Thinking += thinking
				for _, call := range calls {
					j, _ := json.Marshal(map[string]any{"name": call.Function.Name, "arguments": call.Function.Arguments})
					r.Calls = append(r.Calls, j)
				}
				if err != nil {
					r.Error = err.Error()
				}
			}
			if try == 0 {
				feed(c.Text, false)
			} else {
				for len(runes) > 0 {
					n := 1
					if try > 1 {
						n = 1 + rng.Intn(12)
					}
					n = min(n, len(runes))
					feed(string(runes[:n]), false)
					runes = runes[n:]
				}
			}
			feed("", true)
			rs = append(rs, r)
		}
		out = append(out, rs)
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetEscapeHTML(false)
	enc.Encode(out)
}
