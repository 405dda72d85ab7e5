// The judge answers questions about kubectl, with the packages that kubectl itself is built from. With a given kubeconfig, to which
// server, as which user and through which proxy would kubectl send a request? Would it trust a server's certificate?
//
// A request is one line of JSON on standard input. The answer is one line of JSON on standard output.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http/httpproxy"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/transport"
)

// question is a request. In addition to Environment, exactly one field is set.
type question struct {
	Environment map[string]string `json:"environment"`
	Kubeconfig  *kubeconfig       `json:"kubeconfig"`
	Proxy       *string           `json:"proxy"`
	Certificate *certificate      `json:"certificate"`
}

// kubeconfig asks for the values that kubectl reads from a kubeconfig.
type kubeconfig struct {
	// The value of --kubeconfig. Without it, the environment's KUBECONFIG counts.
	Path    string `json:"path"`
	Context string `json:"context"`
}

// certificate asks whether kubectl trusts a server that sends this chain.
type certificate struct {
	Authority string `json:"authority"`
	// The chain that the server sends, the leaf first.
	Chain string `json:"chain"`
	Name  string `json:"name"`
}

type answer struct {
	// The reason for which kubectl refuses. If it is set, all other fields are empty.
	Error      string      `json:"error,omitempty"`
	Connection *connection `json:"connection,omitempty"`
	Proxy      string      `json:"proxy,omitempty"`
}

type connection struct {
	Server     string              `json:"server"`
	ServerName string              `json:"server_name"`
	Insecure   bool                `json:"insecure"`
	Authority  string              `json:"authority"`
	Proxy      string              `json:"proxy"`
	Namespace  string              `json:"namespace"`
	Token      string              `json:"token"`
	TokenFile  string              `json:"token_file"`
	Username   string              `json:"username"`
	Password   string              `json:"password"`
	Chain      string              `json:"certificate"`
	Key        string              `json:"key"`
	Provider   bool                `json:"auth_provider"`
	As         string              `json:"as"`
	AsUID      string              `json:"as_uid"`
	AsGroups   []string            `json:"as_groups"`
	AsExtra    map[string][]string `json:"as_extra"`
	Exec       *exec               `json:"exec,omitempty"`
}

type exec struct {
	Command            string            `json:"command"`
	Arguments          []string          `json:"arguments"`
	Environment        map[string]string `json:"environment"`
	APIVersion         string            `json:"api_version"`
	InteractiveMode    string            `json:"interactive_mode"`
	ProvideClusterInfo bool              `json:"provide_cluster_info"`
}

func main() {
	out := json.NewEncoder(os.Stdout)
	// client-go writes the prompt for a password to standard output, which must hold only answers.
	os.Stdout, _ = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	os.Stderr = os.Stdout
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked question
		said, err := answer{}, json.Unmarshal(line, &asked)
		if err == nil {
			said, err = reply(asked)
		}
		if err != nil {
			said = answer{Error: err.Error()}
		}
		if err := out.Encode(said); err != nil {
			return
		}
	}
}

func reply(asked question) (said answer, err error) {
	// A panic of the packages would end kubectl as well, so it counts as a refusal.
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	os.Clearenv()
	for name, value := range asked.Environment {
		if err := os.Setenv(name, value); err != nil {
			return answer{}, err
		}
	}
	switch {
	case asked.Kubeconfig != nil:
		read, err := asked.Kubeconfig.read()
		return answer{Connection: read}, err
	case asked.Proxy != nil:
		server, err := url.Parse(*asked.Proxy)
		if err != nil {
			return answer{}, err
		}
		proxy, err := proxyOf(nil, server)
		return answer{Proxy: proxy}, err
	case asked.Certificate != nil:
		return answer{}, asked.Certificate.verify()
	}
	return answer{}, errors.New("nothing is asked")
}

// read reads the kubeconfig as k8s.io/cli-runtime/pkg/genericclioptions.ConfigFlags does.
func (asked kubeconfig) read() (*connection, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = asked.Path
	rules.DefaultClientConfig = &clientcmd.DefaultClientConfig
	rules.MigrationRules = nil
	if asked.Path == "" && os.Getenv(clientcmd.RecommendedConfigPathEnvVar) == "" {
		// The package looks up the home folder only once in a process.
		rules.Precedence = []string{os.Getenv("HOME") + "/.kube/config"}
	}
	overrides := &clientcmd.ConfigOverrides{ClusterDefaults: clientcmd.ClusterDefaults, CurrentContext: asked.Context}
	client := clientcmd.NewInteractiveDeferredLoadingClientConfig(rules, overrides, strings.NewReader(""))
	config, err := client.ClientConfig()
	if err != nil {
		return nil, err
	}
	namespace, _, err := client.Namespace()
	if err != nil {
		return nil, err
	}
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	proxy, err := proxyOf(config.Proxy, server)
	if err != nil {
		return nil, err
	}
	// This fails if client-go cannot use the certificates or the key. It does not run an exec plugin.
	if _, err := rest.TransportFor(config); err != nil {
		return nil, err
	}
	read := connection{
		Server: server.String(), ServerName: config.ServerName, Insecure: config.Insecure, Proxy: proxy, Namespace: namespace,
		Token: config.BearerToken, Username: config.Username, Password: config.Password, Provider: config.AuthProvider != nil,
		As: config.Impersonate.UserName, AsUID: config.Impersonate.UID, AsGroups: config.Impersonate.Groups,
		AsExtra: config.Impersonate.Extra,
	}
	if config.BearerTokenFile != "" {
		read.TokenFile = config.BearerTokenFile
		// While client-go cannot read the file, it uses the token that it read before.
		if token, err := transport.NewCachedFileTokenSource(config.BearerTokenFile).Token(); err == nil {
			read.Token = token.AccessToken
		}
	}
	// net/http refuses to send a token with characters that a header cannot carry.
	if !httpguts.ValidHeaderFieldValue(read.Token) {
		return nil, errors.New("a header cannot carry the token")
	}
	for _, part := range []struct {
		data []byte
		file string
		into *string
	}{
		{config.CAData, config.CAFile, &read.Authority},
		{config.CertData, config.CertFile, &read.Chain},
		{config.KeyData, config.KeyFile, &read.Key},
	} {
		if len(part.data) == 0 && part.file != "" {
			if part.data, err = os.ReadFile(part.file); err != nil {
				return nil, err
			}
		}
		*part.into = string(part.data)
	}
	// client-go loads a certificate from files only when the server asks for one. API servers do ask.
	if read.Chain != "" {
		if _, err := tls.X509KeyPair([]byte(read.Chain), []byte(read.Key)); err != nil {
			return nil, err
		}
	}
	if plugin := config.ExecProvider; plugin != nil {
		read.Exec = &exec{
			Command: plugin.Command, Arguments: plugin.Args, APIVersion: plugin.APIVersion, Environment: map[string]string{},
			InteractiveMode: string(plugin.InteractiveMode), ProvideClusterInfo: plugin.ProvideClusterInfo,
		}
		for _, variable := range plugin.Env {
			read.Exec.Environment[variable.Name] = variable.Value
		}
	}
	return &read, nil
}

// proxyOf chooses the proxy as client-go's transports do. net/http reads the environment only once in a process, so this calls the package that
// net/http uses.
func proxyOf(given func(*http.Request) (*url.URL, error), server *url.URL) (string, error) {
	if given == nil {
		environment := httpproxy.FromEnvironment().ProxyFunc()
		given = utilnet.NewProxierWithNoProxyCIDR(func(request *http.Request) (*url.URL, error) {
			return environment(request.URL)
		})
	}
	proxy, err := given(&http.Request{URL: server})
	if err != nil || proxy == nil {
		return "", err
	}
	return proxy.String(), nil
}

// verify reads the authorities as client-go does, and verifies the chain as crypto/tls does.
func (asked certificate) verify() error {
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), DNSName: asked.Name}
	if !options.Roots.AppendCertsFromPEM([]byte(asked.Authority)) {
		return errors.New("no authority")
	}
	var leaf *x509.Certificate
	rest := []byte(asked.Chain)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		if leaf == nil {
			leaf = parsed
		} else {
			options.Intermediates.AddCert(parsed)
		}
	}
	if leaf == nil {
		return io.ErrUnexpectedEOF
	}
	_, err := leaf.Verify(options)
	return err
}
