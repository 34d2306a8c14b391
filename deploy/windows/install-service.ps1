# Installs the host as a service of Windows: README.md beside this file. Not run on Windows yet. What is there already stays.
#
#   .\install-service.ps1 -WinSW C:\path\to\WinSW-x64.exe

#Requires -RunAsAdministrator
param(
    [Parameter(Mandatory = $true)] [string] $WinSW,
    [string] $Folder = "$env:ProgramData\openalgo",
    [string] $Program = "$env:ProgramFiles\openalgo"
)
Set-StrictMode -Version Latest
$ErrorActionPreference = "Stop"

function Invoke-Checked([string] $Command, [string[]] $Arguments) {
    & $Command @Arguments
    if ($LASTEXITCODE -ne 0) { throw "$Command ended with exit code $LASTEXITCODE" }
}

$service = "openalgo-host"
$hostProgram = Join-Path $Program "Scripts\openalgo-host.exe"
if (-not (Test-Path $hostProgram)) { throw "there is no ${hostProgram}: install the program first (README.md, step 1)" }

# Nobody else may look into the folder from its first moment: administrators and the system, by their numbers, which are
# the same in every language.
if (-not (Test-Path $Folder)) { New-Item -ItemType Directory -Path $Folder | Out-Null }
Invoke-Checked "icacls" @($Folder, "/inheritance:r", "/grant:r", "*S-1-5-18:(OI)(CI)F", "*S-1-5-32-544:(OI)(CI)F")

$wrapper = Join-Path $Folder "$service.exe"
Copy-Item $WinSW $wrapper
$settings = Join-Path $Folder "$service.xml"
if (-not (Test-Path $settings)) { Copy-Item (Join-Path $PSScriptRoot "$service.xml") $settings }

if (-not (Get-Service $service -ErrorAction SilentlyContinue)) { Invoke-Checked $wrapper @("install") }
# An account that only this service has; it exists as soon as the service does.
Invoke-Checked "sc.exe" @("config", $service, "obj=", "NT SERVICE\$service")
Invoke-Checked "icacls" @($Folder, "/grant", "NT SERVICE\${service}:(OI)(CI)M")

# The folder of the caches is made here, so that it takes over the rights of the one above it.
$caches = Join-Path $Folder "db"
if (-not (Test-Path $caches)) { New-Item -ItemType Directory -Path $caches | Out-Null }

Push-Location $Folder
try { Invoke-Checked $hostProgram @("--prepare") } finally { Pop-Location }
Invoke-Checked $wrapper @("start")
Write-Output "The service $service runs. Its log is $(Join-Path $Folder "$service.out.log"), and errors are beside it."
