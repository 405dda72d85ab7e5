# Of each release, for a Homebrew tap. dist/release.sh writes the version and the digests.
class Jobpass < Formula
  desc "Kubernetes ServiceAccount tokens that belong to one CI job"
  homepage "https://github.com/jobpass/jobpass"
  version "@VERSION@"
  license "Apache-2.0"

  base = "https://github.com/jobpass/jobpass/releases/download/v@VERSION@"
  on_macos do
    on_arm do
      url "#{base}/jobpass-darwin-arm64.tar.gz"
      sha256 "@jobpass-darwin-arm64.tar.gz@"
    end
    on_intel do
      url "#{base}/jobpass-darwin-x64.tar.gz"
      sha256 "@jobpass-darwin-x64.tar.gz@"
    end
  end
  on_linux do
    on_arm do
      url "#{base}/jobpass-linux-arm64.tar.gz"
      sha256 "@jobpass-linux-arm64.tar.gz@"
    end
    on_intel do
      url "#{base}/jobpass-linux-x64.tar.gz"
      sha256 "@jobpass-linux-x64.tar.gz@"
    end
  end

  def install
    bin.install "jobpass"
    generate_completions_from_executable(bin/"jobpass", "completions")
    system bin/"jobpass", "man", "man"
    man1.install Dir["man/*"]
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/jobpass --version")
  end
end
